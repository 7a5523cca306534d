// SPDX-License-Identifier: Apache-2.0
using Cosim.V1;
using Google.Protobuf;
using Google.Protobuf.Collections;

namespace Cosim.Server.Scenarios;

/// <summary>Reads scenario files: the JSON form of <see cref="Scenario"/>.</summary>
public static class ScenarioFile
{
    /// <summary>Reads a file; paths in it that are relative become absolute, seen from the file's folder.</summary>
    /// <exception cref="ScenarioException">The file cannot be read, is no JSON, or has a key or value that the schema does not know.</exception>
    public static Scenario Read(string path)
    {
        byte[] json;
        try
        {
            json = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ScenarioException($"The scenario {path} cannot be read: {e.Message}", e);
        }

        Scenario scenario = Parse(json, path);
        MakePathsAbsolute(scenario, Path.GetDirectoryName(Path.GetFullPath(path))!);
        return scenario;
    }

    /// <summary>Reads the JSON text; <paramref name="name"/> is what errors call it.</summary>
    /// <exception cref="ScenarioException">The text is no JSON, or has a key or value that the schema does not know.</exception>
    public static Scenario Parse(ReadOnlySpan<byte> json, string name)
    {
        JsonSchema.Check(json, Scenario.Descriptor, name);
        try
        {
            return JsonParser.Default.Parse<Scenario>(System.Text.Encoding.UTF8.GetString(json));
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or InvalidJsonException)
        {
            throw new ScenarioException($"{name}: {e.Message}", e);
        }
    }

    private static void MakePathsAbsolute(Scenario scenario, string folder)
    {
        string Absolute(string path) => path.Length == 0 ? path : Path.GetFullPath(path, folder);

        void MakeAbsolute(RepeatedField<string> files)
        {
            for (int i = 0; i < files.Count; i++)
            {
                files[i] = Absolute(files[i]);
            }
        }

        if (scenario.Fpga?.Waves is { } waves)
        {
            waves.File = Absolute(waves.File);
        }

        if (scenario.Fpga?.Design is { } design)
        {
            MakeAbsolute(design.Files);
        }

        if (scenario.Record is { } record)
        {
            record.File = Absolute(record.File);
        }

        foreach (DeviceSpec device in scenario.Devices)
        {
            if (device.Block is { } block)
            {
                block.Image = Absolute(block.Image);
            }
        }

        foreach (HostSpec? host in new[] { scenario.Host1, scenario.Host2 })
        {
            if (host?.Qemu is { } qemu)
            {
                qemu.Kernel = Absolute(qemu.Kernel);
                qemu.Initrd = Absolute(qemu.Initrd);
                qemu.Console = Absolute(qemu.Console);
                MakeAbsolute(qemu.Files);
            }

            if (host?.Socket is { } socket)
            {
                socket.Directory = Absolute(socket.Directory);
            }
        }
    }
}
