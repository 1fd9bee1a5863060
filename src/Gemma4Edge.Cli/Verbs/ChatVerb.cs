using System.CommandLine;
using System.Diagnostics;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Tools;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>chat</c>: a conversation on the terminal.</summary>
internal static class ChatVerb
{
    private const string Help = """
          /reset          forget the conversation
          /stats          speed and tokens of the last answer
          /system TEXT    new instructions; without TEXT none
          /tools FILE     declare the tools of a file or folder; without FILE none
          /save FILE      write the conversation as JSON, for render
          /quit           leave
        """;

    public static Command Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "Model file or folder" };
        var system = new Option<string?>("--system") { Description = "Instructions that go before the conversation", HelpName = "TEXT" };
        var tools = new Option<string?>("--tools") { Description = "Tools the model may call: a JSON file, or a folder of them", HelpName = "FILE.json" };
        var verb = new Verb(
            "chat",
            "Talks with a model on the terminal",
            "gemma4edge chat model.gguf",
            "gemma4edge chat deploy/demo-model --system \"Areas: kitchen, office.\" --tools deploy/demo-model/tools")
        {
            model, system, tools,
        };
        verb.Notes = $"Commands inside:\n{Help}";
        var sampling = new SamplingFlags(verb);
        var options = new ModelFlags(verb);
        verb.SetAction(async (parsed, cancellation) =>
        {
            int maxTokens = sampling.MaxTokens(parsed);
            using InferenceEngine engine = InferenceEngine.Open(options.Read(parsed, parsed.GetRequiredValue(model)));
            SamplingOptions chosen = sampling.Read(parsed, engine.DefaultSampling);
            ChatSession session = engine.OpenSession();
            var chat = new Chat(terminal, engine, session, chosen, maxTokens, sampling.Think(parsed))
            {
                System = parsed.GetValue(system),
                Tools = parsed.GetValue(tools) is { } file ? ToolFiles.Load(file) : [],
            };
            await LineLoop.RunAsync(terminal, $"{engine.Model.Name}, context {engine.Context} tokens. /help lists the commands.", line => Task.FromResult(chat.TakeLine(line))).ConfigureAwait(false);
        });
        return verb;
    }

    private sealed class Chat(Terminal terminal, InferenceEngine engine, ChatSession session, SamplingOptions sampling, int maxTokens, bool think)
    {
        private GenerationResult? _last;
        private CallCheck _check = new([], terminal.Error.WriteLine);

        public string? System { get; set; }

        public IReadOnlyList<ToolDefinition> Tools
        {
            get;
            set => (field, _check) = (value, new CallCheck(value, terminal.Error.WriteLine));
        }

        = [];

        /// <summary>Answers a line or carries out a command; false = the user wants to leave.</summary>
        public bool TakeLine(string line)
        {
            string[] words = line.Split(' ', 2, StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
            string? rest = words.Length > 1 ? words[1] : null;
            switch (words[0])
            {
                case "/quit":
                    return false;
                case "/reset":
                    session.Clear();
                    break;
                case "/stats":
                    terminal.Out.WriteLine(_last is null ? "No answer yet." : Describe(_last));
                    break;
                case "/system":
                    System = rest;
                    break;
                case "/tools":
                    Tools = rest is null ? [] : ToolFiles.Load(rest);
                    break;
                case "/save":
                    Save(rest ?? throw CommandException.WrongUsage("/save needs a file name."));
                    break;
                case ['/', ..]:
                    terminal.Out.WriteLine(Help);
                    break;
                default:
                    Answer(line);
                    break;
            }

            return true;
        }

        private static string Describe(GenerationResult result) =>
            $"{result.Usage.Input} tokens in ({result.Usage.Cached} cached), {result.Usage.Output} out; first token after {result.Timings.TtftMs:F0} ms, " +
            $"prefill {result.Timings.PrefillTokensPerSecond:F1} tokens/s, decode {result.Timings.DecodeTokensPerSecond:F1} tokens/s";

        private void Answer(string prompt)
        {
            using var sink = new ConsoleSink(terminal, _check.Problem);
            var request = new PromptRequest
            {
                Id = "chat",
                Messages = [.. session.History, new ChatMessage(ChatRole.User, prompt)], // so that System and Tools are these, also when there are none
                System = System,
                Tools = Tools,
                Sampling = sampling,
                MaxTokens = maxTokens,
                Think = think,
                ReceivedTimestamp = Stopwatch.GetTimestamp(),
            };
            _last = session.Generate(request, sink, terminal.Interrupted);
            sink.OnDone(_last);
            engine.Park(); // the threads would spin while the user thinks
        }

        private void Save(string path)
        {
            using StreamWriter file = File.CreateText(path);
            JsonOutput.WriteObject(file, json =>
            {
                json.WriteStartArray("messages");
                foreach (ChatMessage message in session.History)
                {
                    message.WriteTo(json);
                }

                json.WriteEndArray();
            });
        }
    }
}
