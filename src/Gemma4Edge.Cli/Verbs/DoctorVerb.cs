using System.CommandLine;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>doctor</c>: what the service will find on this machine, and what to do about it.</summary>
internal static class DoctorVerb
{
    public static Command Create(Terminal terminal)
    {
        var config = new Option<string?>("--config") { Description = $"Configuration file, or a folder of them; default {ServiceConfiguration.DefaultFolder}", HelpName = "FILE-OR-FOLDER" };
        var model = new Option<string?>("--model") { Description = "Model file or folder", HelpName = "MODEL" };
        var broker = new Option<string?>("--broker") { Description = "embedded, or the broker's URL", HelpName = "embedded|mqtt[s]://HOST:PORT" };
        var json = new Option<bool>("--json") { Description = "Print one JSON object" };
        var verb = new Verb(
            "doctor",
            "Checks processor, memory, heat, GPIO, clock, broker and disk, and says what to do",
            "gemma4edge doctor",
            "gemma4edge doctor --model deploy/demo-model --broker mqtt://192.168.1.10",
            "sudo -u gemma4edge gemma4edge doctor --config /etc/gemma4edge/conf.d --json")
        {
            config, model, broker, json,
        };
        verb.Notes = "Exit 0: nothing is wrong, warnings at most; 1: something is.";
        verb.SetAction(async (parsed, _) =>
        {
            IReadOnlyList<DoctorCheck> checks = await CheckAsync(parsed.GetValue(config), parsed.GetValue(model), parsed.GetValue(broker), terminal.Interrupted).ConfigureAwait(false);
            if (parsed.GetValue(json))
            {
                WriteJson(terminal, checks);
            }
            else
            {
                WriteLines(terminal, checks);
            }

            return checks.Any(check => check.Status == CheckStatus.Error) ? ExitCode.Failed : ExitCode.Done;
        });
        return verb;
    }

    private static async Task<IReadOnlyList<DoctorCheck>> CheckAsync(string? config, string? model, string? broker, CancellationToken cancellation)
    {
        try
        {
            ServiceOptions options = ServiceOptions.Read(ServiceConfiguration.Load(config, [KeyValuePair.Create("Model:Path", model), KeyValuePair.Create("Mqtt:Broker", broker)]));
            var doctor = new Doctor(new SystemFiles(options.Telemetry.SystemRoot ?? "/"));
            return [new("configuration", CheckStatus.Ok, "every key is known and allowed"), .. doctor.CheckMachine(options.Model), .. await doctor.CheckServiceAsync(options, cancellation).ConfigureAwait(false)];
        }
        catch (ConfigurationException e)
        {
            return [new("configuration", CheckStatus.Error, "wrong", e.Message), .. new Doctor(SystemFiles.OfThisMachine).CheckMachine(new ModelOptions { Path = "" })];
        }
    }

    private static void WriteJson(Terminal terminal, IReadOnlyList<DoctorCheck> checks) => JsonOutput.WriteObject(terminal.Out, json =>
    {
        json.WriteStartArray("checks");
        foreach (DoctorCheck check in checks)
        {
            json.WriteStartObject();
            json.WriteString("name", check.Name);
            json.WriteString("status", WordOf(check.Status));
            json.WriteString("value", check.Value);
            json.WriteString("hint", check.Hint);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    });

    private static void WriteLines(Terminal terminal, IReadOnlyList<DoctorCheck> checks)
    {
        foreach (DoctorCheck check in checks)
        {
            terminal.Out.WriteLine($"{WordOf(check.Status),-8} {check.Name,-14} {check.Value}");
            if (check.Hint.Length > 0)
            {
                terminal.Out.WriteLine($"{"",-24}{check.Hint}");
            }
        }
    }

    private static string WordOf(CheckStatus status) => status switch
    {
        CheckStatus.Ok => "ok",
        CheckStatus.Warning => "warning",
        _ => "error",
    };
}
