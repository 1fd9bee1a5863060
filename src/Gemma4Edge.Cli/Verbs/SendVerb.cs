using System.CommandLine;
using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>send</c>: a prompt to a node, over MQTT.</summary>
internal static class SendVerb
{
    public static Command Create(Terminal terminal)
    {
        var prompt = new Argument<string>("PROMPT") { Description = "What to ask; - reads it from stdin" };
        var node = new Option<string>("--node") { Description = "The node that shall answer; default this host's name", DefaultValueFactory = _ => new MqttOptions().Node, HelpName = "NAME" };
        var timeout = new CountOption("--timeout", 120, 1, "Seconds without a sign of life after which it gives up");
        var json = new Option<bool>("--json") { Description = "Print the final event when it is there" };
        var verb = new Verb(
            "send",
            "Sends a prompt to a node over MQTT and streams the answer",
            "gemma4edge send \"turn on the kitchen light\" --node kitchen",
            "gemma4edge send \"Name three herbs.\" --broker mqtt://192.168.1.10:1883 --node office --json")
        {
            prompt, node, timeout, json,
        };
        var broker = new BrokerFlags(verb);
        verb.SetAction(async (parsed, _) =>
        {
            string text = parsed.GetRequiredValue(prompt);
            await using PromptClient client = await PromptClient.ConnectAsync(broker.Address(parsed), broker.Credentials(parsed), terminal.Interrupted).ConfigureAwait(false);
            var request = new OutgoingRequest(text == "-" ? terminal.In.ReadToEnd() : text) { Stream = true };
            var silence = TimeSpan.FromSeconds(parsed.GetValue(timeout));
            using var sink = new ConsoleSink(terminal);
            JsonElement last = default;
            await foreach (JsonElement e in client.SendAsync(parsed.GetRequiredValue(node), request, silence, terminal.Interrupted).ConfigureAwait(false))
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
}
