using System.CommandLine;
using System.Reflection;
using System.Runtime.InteropServices;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>version</c>: what this program is and what it runs on.</summary>
internal static class VersionVerb
{
    public static Command Create(Terminal terminal)
    {
        var json = new Option<bool>("--json") { Description = "Print one JSON object" };
        var verb = new Verb(
            "version",
            "Prints the version and what was found on this machine",
            "gemma4edge version",
            "gemma4edge version --json")
        {
            json,
        };
        verb.SetAction(parsed =>
        {
            string[] build = typeof(VersionVerb).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+');
            string? commit = build.Length > 1 ? build[1] : null; // a build outside a clone has none
            string kernel = ModelFlags.SelectKernel(null);
            if (parsed.GetValue(json))
            {
                JsonOutput.WriteObject(terminal.Out, writer =>
                {
                    writer.WriteString("version", build[0]);
                    if (commit is not null)
                    {
                        writer.WriteString("commit", commit);
                    }

                    writer.WriteString("kernel", kernel);
                    writer.WriteNumber("threads", WorkerPool.DefaultThreads);
                    writer.WriteString("architecture", RuntimeInformation.RuntimeIdentifier);
                });
            }
            else
            {
                terminal.Out.WriteLine($"gemma4edge {build[0]} ({RuntimeInformation.RuntimeIdentifier}, kernel {kernel}, {WorkerPool.DefaultThreads} threads)");
            }
        });
        return verb;
    }
}
