// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Guests.Internal;

/// <summary>Whether a guest's instructions can be run by this machine's processor rather than interpreted.</summary>
internal static class Acceleration
{
    /// <summary>
    /// True where KVM boots a stock kernel. That /dev/kvm is there proves nothing: some virtual machines offer it
    /// without the processor's support behind it.
    /// </summary>
    public static bool HasKvm { get; } = Detect();

    private static bool Detect()
    {
        try
        {
            if (Directory.Exists("/sys/module/kvm_pvm"))
            {
                return false;
            }

            string? flags = File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("flags", StringComparison.Ordinal));
            if (flags is null || !flags.Split(' ').Any(flag => flag is "vmx" or "svm"))
            {
                return false;
            }

            using FileStream device = File.Open("/dev/kvm", FileMode.Open, FileAccess.ReadWrite);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false; // No such device, or not for this user.
        }
    }
}
