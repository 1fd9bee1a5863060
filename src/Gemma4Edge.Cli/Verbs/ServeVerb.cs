using System.CommandLine;
using System.Runtime.InteropServices;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Systemd;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>serve</c>: the service that answers over MQTT.</summary>
internal static class ServeVerb
{
    public static Command Create(Terminal terminal)
    {
        var verb = new Verb(
            "serve",
            "Answers prompts over MQTT until it is stopped",
            "gemma4edge serve --model deploy/demo-model --broker embedded",
            "gemma4edge serve --config /etc/gemma4edge/conf.d --broker mqtt://192.168.1.10:1883",
            "GEMMA4EDGE__Mqtt__Node=kitchen gemma4edge serve --model model.gguf");
        verb.Notes = """
            Configuration: appsettings.json of the working folder, then --config, then the environment (GEMMA4EDGE__Section__Key), then these options.
            SIGHUP reads it again: Sampling, Tools and their files, Model:System, Queue:DefaultDeadlineSeconds and Telemetry:IntervalSeconds change, the rest needs a restart.
            Send it a prompt: mosquitto_pub -t gemma4edge/NODE/prompt/set -m "Name three herbs.", or gemma4edge send.
            """;
        var flags = new ServiceFlags(verb);
        verb.SetAction(async (parsed, _) =>
        {
            ServiceOptions options = ServiceOptions.Read(flags.Load(parsed));
            await using ServiceHost service = ServiceHost.Open(options, systemd: NotifySocket.OfThisProcess());
            using PosixSignalRegistration? hangup = terminal.IsInteractive ? null : PosixSignalRegistration.Create(PosixSignal.SIGHUP, signal =>
            {
                signal.Cancel = true;
                service.Reload(() => ServiceOptions.Read(flags.Load(parsed)));
            });
            try
            {
                await service.RunAsync(terminal.Interrupted).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (terminal.Interrupted.IsCancellationRequested)
            {
                // stopped before it had started: for a service that is an ordinary end too
            }
        });
        return verb;
    }
}
