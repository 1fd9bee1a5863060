using System.CommandLine;
using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>mqtt probe</c>: what the broker lets the node do, topic by topic.</summary>
internal static class MqttProbe
{
    public static Command Create(Terminal terminal)
    {
        var json = new Option<bool>("--json") { Description = "Print one JSON object" };
        var verb = new Verb(
            "probe",
            "Tries on the broker whether the node may hear and speak where it must",
            "gemma4edge mqtt probe",
            "sudo -u gemma4edge gemma4edge mqtt probe --config /etc/gemma4edge/conf.d",
            "GEMMA4EDGE__Mqtt__Node=kitchen gemma4edge mqtt probe --broker mqtt://192.168.1.10 --json")
        {
            json,
        };
        verb.Notes = """
            It connects with the configured user under another client id, beside the node that may be running, and changes nothing that is retained.
            Exit 0: everything is allowed; 1: something is refused; 4: the broker cannot be reached, or does not let the user in.
            """;
        var flags = new MqttFlags(verb);
        verb.SetAction(async (parsed, _) =>
        {
            MqttOptions mqtt = flags.Read(parsed);
            IReadOnlyList<TopicRight> rights = await BrokerRights.ProbeAsync(mqtt, flags.ReadHomeAssistant(parsed), flags.ReadTools(parsed), terminal.Interrupted).ConfigureAwait(false);
            if (parsed.GetValue(json))
            {
                JsonOutput.WriteObject(terminal.Out, writer => WriteJson(writer, mqtt, rights));
            }
            else
            {
                WriteLines(terminal, mqtt, rights);
            }

            return rights.Any(right => right.Allowed == false) ? ExitCode.Failed : ExitCode.Done;
        });
        return verb;
    }

    private static string StatusOf(TopicRight right) => right.Allowed switch
    {
        true => "ok",
        false => "refused",
        null => "unproven",
    };

    private static string HintOf(TopicRight right) => right.Allowed switch
    {
        true => "",
        false => $"in Mosquitto's acl_file: {right.Rule}",
        null => $"{right.Unproven}; needed is: {right.Rule}",
    };

    private static void WriteLines(Terminal terminal, MqttOptions mqtt, IReadOnlyList<TopicRight> rights)
    {
        terminal.Out.WriteLine(terminal.Bold($"{mqtt.Address} lets {(mqtt.User is { } user ? $"user {user}" : "a nameless user")} in as node {mqtt.Node}"));
        int width = rights.Max(right => right.Topic.Length);
        foreach (TopicRight right in rights)
        {
            string line = $"{right.Topic.PadRight(width)}  {(right.IsInbound ? "hear " : "speak")}  {StatusOf(right),-8}  {HintOf(right)}".TrimEnd();
            terminal.Out.WriteLine(right.Allowed == false ? terminal.Accent(line) : line);
        }
    }

    private static void WriteJson(Utf8JsonWriter json, MqttOptions mqtt, IReadOnlyList<TopicRight> rights)
    {
        json.WriteString("broker", mqtt.Address.ToString());
        json.WriteString("node", mqtt.Node);
        if (mqtt.User is { } user)
        {
            json.WriteString("user", user);
        }

        json.WriteStartArray("topics");
        foreach (TopicRight right in rights)
        {
            json.WriteStartObject();
            json.WriteString("topic", right.Topic);
            json.WriteString("direction", right.IsInbound ? "in" : "out");
            json.WriteString("status", StatusOf(right));
            if (HintOf(right) is { Length: > 0 } hint)
            {
                json.WriteString("hint", hint);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
