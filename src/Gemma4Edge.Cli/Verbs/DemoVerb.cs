using System.CommandLine;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Telemetry;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>demo</c>: the whole product in one process, on the bundled model.</summary>
internal static class DemoVerb
{
    private const string Node = "demo";
    private const string HomeTopics = "home/#";

    public static Command Create(Terminal terminal)
    {
        var once = new Option<bool>("--once") { Description = "End after the commands; so it does where no person sits at the terminal" };
        var verb = new Verb(
            "demo",
            "Shows the whole product in one process: broker, service and a client that sends home commands to the bundled model",
            "gemma4edge demo",
            "gemma4edge demo --once")
        {
            once,
        };
        var flags = new ModelFlags(verb);
        verb.SetAction(async (parsed, _) =>
        {
            long start = Stopwatch.GetTimestamp();
            DemoHome home = DemoHome.Find();
            ServiceOptions options = OptionsFor(home, flags.Read(parsed, home.Model));
            await using ServiceHost service = ServiceHost.Open(options, LogLevel.Error);
            await service.StartAsync(terminal.Interrupted).ConfigureAwait(false);
            try
            {
                await using PromptClient client = await PromptClient.ConnectAsync(options.Mqtt.Address, null, terminal.Interrupted).ConfigureAwait(false);
                terminal.Out.WriteLine(terminal.Dim(
                    "An MQTT broker, the service and a client in this one process; every command and every answer below goes through the broker.\n" +
                    "The home is played: its lights, locks and scenes are topics under home/, and every sensor reads 21.5.\n" +
                    $"Broker {options.Mqtt.Address}, node {Node} and model {home.Model} are up after {Stopwatch.GetElapsedTime(start).TotalMilliseconds:F0} ms."));
                await using HomeWatcher watcher = await HomeWatcher.StartAsync(options.Mqtt.Address, HomeTopics, terminal.Interrupted).ConfigureAwait(false);
                var demo = new Demo(terminal, client, watcher);
                foreach (string prompt in home.Prompts)
                {
                    demo.Forget();
                    terminal.Out.WriteLine();
                    terminal.Out.WriteLine(terminal.Bold($"> {prompt}"));
                    await demo.AskAsync(prompt).ConfigureAwait(false);
                }

                demo.WriteSummary();
                if (!terminal.IsInteractive || parsed.GetValue(once))
                {
                    WriteTopics(terminal, $"After 'GEMMA4EDGE__Tools__Path={home.Tools} GEMMA4EDGE__Tools__AllowTopics__0={HomeTopics} gemma4edge serve --model {home.Model}' any MQTT client can take part:", new MqttOptions());
                }
                else
                {
                    WriteTopics(terminal, "While this runs, any MQTT client can take part:", options.Mqtt);
                    await LineLoop.RunAsync(terminal, "Talk to the home; /quit leaves.", demo.TakeLineAsync).ConfigureAwait(false);
                }
            }
            finally
            {
                await service.StopAsync(CancellationToken.None).ConfigureAwait(false);
            }
        });
        return verb;
    }

    private static ServiceOptions OptionsFor(DemoHome home, EngineOptions engine) => new()
    {
        Model = new ModelOptions
        {
            Path = home.Model,
            System = home.System,
            Context = engine.Context,
            Threads = engine.Threads,
            Kernel = engine.Kernel,
            Kv = engine.Kv,
            Head = engine.Head,
            Activations = engine.Activations,
            SkipShared = engine.SkipShared,
        },
        Mqtt = new MqttOptions { EmbeddedPort = FreePort(), Node = Node },
        Tools = new ToolsOptions { Path = home.Tools, AllowTopics = [HomeTopics] },
    };

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static void WriteTopics(Terminal terminal, string title, MqttOptions mqtt)
    {
        (int port, string node) = (mqtt.EmbeddedPort, mqtt.Node);
        TextWriter output = terminal.Out;
        output.WriteLine();
        output.WriteLine(terminal.Bold(title));
        output.WriteLine($"  mosquitto_sub -p {port} -v -t 'gemma4edge/{node}/#' -t '{HomeTopics}'");
        output.WriteLine($"  mosquitto_pub -p {port} -t gemma4edge/{node}/prompt/set -m 'turn on the kitchen light'");
        output.WriteLine($"  mosquitto_rr -V 5 -p {port} -t gemma4edge/{node}/request -e gemma4edge/reply/me -m '{{\"prompt\":\"lock the front door\"}}'");
        output.WriteLine();
    }

    private sealed class Demo(Terminal terminal, PromptClient client, HomeWatcher watcher)
    {
        private const int MaxToolRounds = 3;
        private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);
        private static readonly TimeSpan s_silence = TimeSpan.FromMinutes(2);
        private readonly List<ChatMessage> _messages = [];
        private readonly TextTable _table = new("command", "first token", "prefill", "decode", "tokens in", "cached", "out");

        /// <summary>Begins a new conversation.</summary>
        public void Forget() => _messages.Clear();

        /// <summary>Says something to the home, reads the sensors it calls for, and shows everything that comes back.</summary>
        /// <exception cref="CommandException">The node has no answer.</exception>
        public async Task AskAsync(string prompt)
        {
            _messages.Add(new ChatMessage(ChatRole.User, prompt));
            JsonElement done = await SendAsync().ConfigureAwait(false);
            AddRow(prompt, done.GetProperty("usage"), done.GetProperty("timings"));
            for (int round = 0; round < MaxToolRounds && _messages[^1].ToolCalls is { Count: > 0 } toolCalls; round++)
            {
                // a tool without an action is its sender's to run; reading a sensor is one
                _messages.AddRange(toolCalls.Select(toolCall => new ChatMessage(ChatRole.Tool, toolCall.Name == "get_sensor" ? "21.5" : "error: not found") { Name = toolCall.Name }));
                await SendAsync().ConfigureAwait(false);
            }
        }

        public async Task<bool> TakeLineAsync(string line)
        {
            if (line.Trim() == "/quit")
            {
                return false;
            }

            await AskAsync(line).ConfigureAwait(false);
            return true;
        }

        public void WriteSummary()
        {
            terminal.Out.WriteLine();
            _table.Write(terminal);
            DeviceReadings memory = DeviceReadings.Read();
            terminal.Out.WriteLine();
            terminal.Out.WriteLine(
                $"Memory of the whole process: {memory.RssAnonymousBytes / 1e6:F1} MB of its own, {memory.RssFileBytes / 1e6:F1} MB mapped from files (weights and program).");
        }

        /// <summary>Sends the conversation over MQTT, shows the answer as it comes and adds it to the conversation.</summary>
        private async Task<JsonElement> SendAsync()
        {
            using var sink = new ConsoleSink(terminal);
            var request = new OutgoingRequest(_messages) { Stream = true };
            JsonElement last = default;
            await foreach (JsonElement e in client.SendAsync(Node, request, s_silence, terminal.Interrupted).ConfigureAwait(false))
            {
                sink.Show(e);
                last = e;
            }

            await RememberAsync(last).ConfigureAwait(false);
            return last;
        }

        /// <summary>Adds to the conversation what the node called, did and said; shows the topics that this has changed.</summary>
        private async Task RememberAsync(JsonElement done)
        {
            JsonElement[] calls = [.. done.GetProperty("tool_calls").EnumerateArray()];
            JsonElement[] acts = [.. calls.Where(call => call.TryGetProperty("ok", out _))];
            if (acts.Length > 0)
            {
                _messages.Add(new ChatMessage(ChatRole.Assistant) { ToolCalls = [.. acts.Select(CallOf)] });
                _messages.AddRange(acts.Select(act => new ChatMessage(ChatRole.Tool, IsOk(act) ? "ok" : $"error: {act.GetProperty("error").GetString()}") { Name = CallOf(act).Name }));
            }

            _messages.Add(new ChatMessage(ChatRole.Assistant, done.GetProperty("text").GetString()) { ToolCalls = [.. calls.Skip(acts.Length).Select(CallOf)] });
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(terminal.Interrupted);
            patience.CancelAfter(s_patience);
            for (int changes = acts.Count(IsOk); changes > 0; changes--)
            {
                terminal.Out.WriteLine(terminal.Dim($"  {await watcher.NextAsync(patience.Token).ConfigureAwait(false)}"));
            }
        }

        private static bool IsOk(JsonElement act) => act.GetProperty("ok").GetBoolean();

        private static ToolCall CallOf(JsonElement call) => new(call.GetProperty("name").GetString()!, call.GetProperty("arguments"));

        private void AddRow(string prompt, JsonElement usage, JsonElement timings) => _table.Add(
            prompt,
            Number(timings, "ttft_ms", "ms"),
            Number(timings, "prefill_tps", "tok/s"),
            Number(timings, "decode_tps", "tok/s"),
            $"{usage.GetProperty("input").GetInt32()}",
            $"{usage.GetProperty("cached").GetInt32()}",
            $"{usage.GetProperty("output").GetInt32()}");

        // an answer of one token has no decode rate
        private static string Number(JsonElement timings, string key, string unit) =>
            timings.TryGetProperty(key, out JsonElement value) ? $"{value.GetDouble():F1} {unit}" : "";
    }
}
