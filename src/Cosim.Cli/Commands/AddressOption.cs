// SPDX-License-Identifier: Apache-2.0
using System.CommandLine;
using Cosim.Cli.MainJob;
using Cosim.Server;

namespace Cosim.Cli.Commands;

/// <summary>Where the service is.</summary>
internal sealed class AddressOption : Option<string?>
{
    internal AddressOption()
        : base("--address")
    {
        Description = "Where the service listens: unix:PATH or IP-ADDRESS:PORT. Default: the socket of this clone.";
        HelpName = "ADDRESS";
    }

    /// <summary>The address that was given, or that of the clone this program runs from.</summary>
    internal ServiceAddress From(ParseResult result) => result.GetValue(this) is { } text
        ? ServiceAddress.Parse(text)
        : ServiceAddress.DefaultOf(Workspace.Find().Root);
}
