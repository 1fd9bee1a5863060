using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>fleet</c>: the nodes of a broker with health and speed.</summary>
internal static class FleetVerb
{
    /// <summary>Longer than nodes are silent unless told otherwise.</summary>
    private const int WaitSeconds = 12;

    private const string Absent = "-";

    public static Command Create(Terminal terminal)
    {
        var wait = new CountOption("--wait", WaitSeconds, 1, "Seconds to listen at most; it ends when every node that is online has sent its telemetry", maximum: 86400);
        var json = new Option<bool>("--json") { Description = "Print one JSON object" };
        var verb = new Verb(
            "fleet",
            "Lists the nodes of a broker with their health and speed",
            "gemma4edge fleet",
            "gemma4edge fleet --broker mqtts://broker.local --cafile ca.crt --user operator --password-file ~/.mqtt-password",
            "gemma4edge fleet --wait 60 --json | jq '.nodes[] | {node, decode_tps: .telemetry.decode_tps}'")
        {
            wait, json,
        };
        verb.Notes = """
            availability, info and state are retained at the broker and come at once, also of nodes that are away; telemetry comes every Telemetry:IntervalSeconds
            (10) from nodes that run. ttft is the median of the last five minutes. seen: how long ago a node last spoke while it was listened to; - = it did not.
            With Mosquitto the user needs 'topic read gemma4edge/#'. Exit 0, also where no node is; 4: the broker cannot be reached, or refuses.
            """;
        var flags = new BrokerFlags(verb);
        verb.SetAction(async (parsed, _) =>
        {
            BrokerAddress broker = flags.Address(parsed);
            BrokerCredentials credentials = flags.Credentials(parsed);
            var limit = TimeSpan.FromSeconds(parsed.GetValue(wait));
            using var listener = new FleetListener(broker);
            using var progress = new Progress(terminal, "Listening for telemetry, seconds");
            IReadOnlyList<FleetNode> nodes = await listener.ListenAsync(
                credentials, limit, listened => progress.Report((long)listened.TotalSeconds, (long)limit.TotalSeconds), terminal.Interrupted).ConfigureAwait(false);
            progress.Dispose();
            if (parsed.GetValue(json))
            {
                JsonOutput.WriteObject(terminal.Out, writer => WriteJson(writer, broker, nodes));
            }
            else if (nodes.Count > 0)
            {
                WriteTable(terminal, nodes);
            }

            WriteNotes(terminal, broker, credentials.User, nodes, listener.HasLeftOut);
            return ExitCode.Done;
        });
        return verb;
    }

    private static void WriteTable(Terminal terminal, IReadOnlyList<FleetNode> nodes)
    {
        DateTimeOffset now = DateTimeOffset.UtcNow;
        var table = new TextTable("node", "availability", "version", "model", "kernel", "state", "queue", "ttft p50", "decode", "memory", "cpu", "throttled", "seen");
        foreach (FleetNode node in nodes)
        {
            table.Add(
                node.Name,
                node.Availability ?? Absent,
                Text(node.Info, "version"),
                Text(node.Info, "model"),
                Text(node.Info, "kernel"),
                Flag(node.State, "enabled") == false ? "disabled" : Flag(node.State, "busy") switch { true => "busy", false => "idle", null => Absent },
                Number(Find(node.State, "queue") ?? Find(node.Telemetry, "queue"), "F0", ""),
                Number(Find(Find(node.Telemetry, "ttft_ms"), "p50"), "F0", " ms"),
                Number(Find(node.Telemetry, "decode_tps"), "F1", " tok/s"),
                Bytes(Find(node.Telemetry, "rss_bytes")),
                Number(Find(node.Telemetry, "cpu_celsius"), "F1", " °C"),
                Words(Find(Find(node.Telemetry, "throttled") ?? Find(node.State, "throttled"), "now")),
                node.LastSeen is { } seen ? string.Create(CultureInfo.InvariantCulture, $"{Math.Max(0, (now - seen).TotalSeconds):F0} s") : Absent);
        }

        table.Write(terminal);
    }

    private static void WriteNotes(Terminal terminal, BrokerAddress broker, string? user, IReadOnlyList<FleetNode> nodes, bool hasLeftOut)
    {
        if (nodes.Count == 0)
        {
            terminal.Error.WriteLine(
                $"No node has told anything at {broker}, on {FleetListener.Filters}. Start one with 'gemma4edge serve', or name another --broker; " +
                $"where access rules hide the nodes from {(user is null ? "a nameless user" : $"user {user}")} it looks the same: in Mosquitto's acl_file 'topic read gemma4edge/#' shows them.");
        }

        foreach ((FleetNode node, string topic, string problem) in nodes.SelectMany(node => node.Problems.Select(pair => (node, pair.Key, pair.Value))))
        {
            terminal.Error.WriteLine($"gemma4edge/{node.Name}/{topic}: {problem}. Look who publishes there; a node's own restart sets it right.");
        }

        string[] silent = [.. nodes.Where(node => node is { Availability: "online", Telemetry: null } && !node.Problems.ContainsKey("telemetry")).Select(node => node.Name)];
        if (silent.Length > 0)
        {
            terminal.Error.WriteLine(
                $"Online without telemetry in that time: {string.Join(", ", silent.Take(8))}{(silent.Length > 8 ? $" and {silent.Length - 8} more" : "")}. Give a longer --wait where Telemetry:IntervalSeconds is long.");
        }

        if (hasLeftOut)
        {
            terminal.Error.WriteLine($"There are more nodes than the {FleetListener.MaxNodes} that are shown.");
        }
    }

    private static void WriteJson(Utf8JsonWriter json, BrokerAddress broker, IReadOnlyList<FleetNode> nodes)
    {
        json.WriteString("broker", broker.ToString());
        json.WriteStartArray("nodes");
        foreach (FleetNode node in nodes)
        {
            json.WriteStartObject();
            json.WriteString("node", node.Name);
            if (node.Availability is { } availability)
            {
                json.WriteString("availability", availability);
            }

            WriteValue("info", node.Info);
            WriteValue("state", node.State);
            WriteValue("telemetry", node.Telemetry);
            if (node.LastSeen is { } seen)
            {
                json.WriteString("last_seen", seen.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture));
            }

            if (node.Problems.Count > 0)
            {
                json.WriteStartObject("problems");
                foreach ((string topic, string problem) in node.Problems)
                {
                    json.WriteString(topic, problem);
                }

                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();

        void WriteValue(string name, JsonElement? value)
        {
            if (value is { } element)
            {
                json.WritePropertyName(name);
                element.WriteTo(json);
            }
        }
    }

    /// <summary>A member; null = there is none, or what should hold it is no object.</summary>
    private static JsonElement? Find(JsonElement? of, string name) =>
        of is { ValueKind: JsonValueKind.Object } element && element.TryGetProperty(name, out JsonElement member) ? member : null;

    private static string Text(JsonElement? of, string name) => Find(of, name) is { ValueKind: JsonValueKind.String } text ? Cell(text.GetString()!) : Absent;

    private static bool? Flag(JsonElement? of, string name) => Find(of, name) is { ValueKind: JsonValueKind.True or JsonValueKind.False } flag ? flag.GetBoolean() : null;

    private static string Number(JsonElement? value, string format, string unit) =>
        value is { ValueKind: JsonValueKind.Number } number && number.TryGetDouble(out double finite) && Math.Abs(finite) < 1e9 ? finite.ToString(format, CultureInfo.InvariantCulture) + unit : Absent;

    private static string Bytes(JsonElement? value) => value is { ValueKind: JsonValueKind.Number } number && number.TryGetInt64(out long bytes) && bytes >= 0 ? ByteSize.Text(bytes) : Absent;

    private static string Words(JsonElement? value)
    {
        if (value is not { ValueKind: JsonValueKind.Array } words)
        {
            return Absent;
        }

        string text = string.Join(", ", words.EnumerateArray().Take(4).Where(word => word.ValueKind == JsonValueKind.String).Select(word => word.GetString()));
        return text.Length == 0 ? "no" : Cell(text);
    }

    /// <summary>Another's text in a cell: short, on one line, no control characters.</summary>
    private static string Cell(string text)
    {
        const int Most = 24;
        return Printable.Line(text.Length > Most ? $"{text[..Most]}…" : text);
    }
}
