using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>send</c>: a prompt to a node or a pool, over MQTT.</summary>
internal static class SendVerb
{
    public static Command Create(Terminal terminal)
    {
        var prompt = new Argument<string>("PROMPT") { Description = "What to ask; - reads it from stdin" };
        var node = new Option<string?>("--node") { Description = "The node that shall answer; default this host's name", HelpName = "NAME" };
        var pool = new Option<string?>("--pool") { Description = "Instead of a node: whichever node of that pool is free", HelpName = "NAME" };
        var timeout = new CountOption("--timeout", 120, 1, "Seconds without a sign of life after which it gives up");
        var json = new Option<bool>("--json") { Description = "Print the final event when it is there" };
        var verb = new Verb(
            "send",
            "Sends a prompt to a node or a pool over MQTT and streams the answer",
            "gemma4edge send \"turn on the kitchen light\" --node kitchen",
            "gemma4edge send \"Name three herbs.\" --broker mqtt://192.168.1.10:1883 --node office --json",
            "gemma4edge send \"Name three herbs.\" --broker mqtts://broker.local --cafile ca.crt --user operator --password-file ~/.mqtt-password --pool home")
        {
            prompt, node, pool, timeout, json,
        };
        verb.Notes = """
            With --pool the prompt is sent again, with the same id, while no node is free, when the chosen one turns out to be busy, and when it falls silent;
            but not once a tool was called.
            """;
        verb.Validators.Add(result =>
        {
            if (result.GetValue(node) is not null && result.GetValue(pool) is not null)
            {
                result.AddError("--node and --pool exclude each other.");
            }
            else if (result.GetValue(node) is { } at && !MqttOptions.IsNodeName(at))
            {
                result.AddError($"--node: expected 1 to 64 of A-Z a-z 0-9 _ - and not fleet or reply, found '{at}'.");
            }
            else if (result.GetValue(pool) is { } name && !MqttOptions.IsPoolName(name))
            {
                result.AddError($"--pool: expected 1 to 64 of A-Z a-z 0-9 _ -, found '{name}'.");
            }
        });
        var broker = new BrokerFlags(verb);
        verb.SetAction(async (parsed, _) =>
        {
            string text = parsed.GetRequiredValue(prompt);
            text = text == "-" ? await terminal.ReadToEndAsync().ConfigureAwait(false) : text;
            await using PromptClient client = await PromptClient.ConnectAsync(broker.Address(parsed), broker.Credentials(parsed), terminal.Interrupted).ConfigureAwait(false);
            var request = new OutgoingRequest(text) { Stream = true };
            var silence = TimeSpan.FromSeconds(parsed.GetValue(timeout));
            using var sink = new ConsoleSink(terminal);
            JsonElement last = default;
            IAsyncEnumerable<JsonElement> events = parsed.GetValue(pool) is { } name
                ? client.SendToPoolAsync(name, request, silence, new Waiting(terminal).Tell, terminal.Interrupted)
                : client.SendAsync(parsed.GetValue(node) ?? new MqttOptions().Node, request, silence, terminal.Interrupted);
            await foreach (JsonElement e in events.ConfigureAwait(false))
            {
                last = e;
                if (!parsed.GetValue(json))
                {
                    sink.Show(e);
                }
            }

            if (parsed.GetValue(json))
            {
                JsonOutput.Write(terminal.Out, last.WriteTo);
            }

            return last.GetProperty("type").GetString() == "done" ? ExitCode.Done : ExitCode.Failed;
        });
        return verb;
    }

    /// <summary>Says why a pool is asked again: each reason at once, the same one every few seconds.</summary>
    private sealed class Waiting(Terminal terminal)
    {
        private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(5);
        private string? _said;
        private long _when;

        public void Tell(string problem)
        {
            if (problem != _said || Stopwatch.GetElapsedTime(_when) >= s_interval)
            {
                (_said, _when) = (problem, Stopwatch.GetTimestamp());
                terminal.Error.WriteLine($"gemma4edge: {problem}; asking again.");
            }
        }
    }
}
