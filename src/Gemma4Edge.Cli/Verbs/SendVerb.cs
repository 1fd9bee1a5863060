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
        var broker = new Option<string>("--broker") { Description = "The broker's URL", DefaultValueFactory = _ => $"mqtt://127.0.0.1:{BrokerAddress.DefaultPort}", HelpName = "mqtt://HOST:PORT" };
        var user = new Option<string?>("--user") { Description = "User at the broker" };
        var passwordFile = new Option<string?>("--password-file") { Description = "File with the user's password on its first line", HelpName = "FILE" };
        var timeout = new CountOption("--timeout", 120, 1, "Seconds without a sign of life after which it gives up");
        var json = new Option<bool>("--json") { Description = "Print the final event when it is there" };
        var verb = new Verb(
            "send",
            "Sends a prompt to a node over MQTT and streams the answer",
            "gemma4edge send \"turn on the kitchen light\" --node kitchen",
            "gemma4edge send \"Name three herbs.\" --broker mqtt://192.168.1.10:1883 --node office --json")
        {
            prompt, node, broker, user, passwordFile, timeout, json,
        };
        verb.SetAction(async (parsed, _) =>
        {
            string text = parsed.GetRequiredValue(prompt);
            string url = parsed.GetRequiredValue(broker);
            if (!BrokerAddress.TryParse(url, out BrokerAddress? address))
            {
                throw CommandException.WrongUsage($"--broker: '{url}' is no broker's URL; expected mqtt://HOST:PORT.");
            }

            await using PromptClient client = await PromptClient.ConnectAsync(address, parsed.GetValue(user), parsed.GetValue(passwordFile), terminal.Interrupted).ConfigureAwait(false);
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
