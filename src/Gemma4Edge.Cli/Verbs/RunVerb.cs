using System.CommandLine;
using System.Diagnostics;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>run</c>: one question, one answer.</summary>
internal static class RunVerb
{
    public static Command Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "Model file or folder" };
        var prompt = new Argument<string>("PROMPT") { Description = "What to ask; - reads it from stdin" };
        var system = new Option<string?>("--system") { Description = "Instructions that go before the prompt", HelpName = "TEXT" };
        var tools = new Option<string?>("--tools") { Description = "Tools the model may call: a JSON file, or a folder of them", HelpName = "FILE.json" };
        var json = new Option<bool>("--json") { Description = "Print one JSON object when the answer is complete" };
        var verb = new Verb(
            "run",
            "Answers one prompt, streamed to stdout; tool calls are shown and not carried out",
            "gemma4edge run model.gguf \"Name three herbs.\"",
            "gemma4edge run deploy/demo-model \"turn on the kitchen light\" --system \"Areas: kitchen, office.\" --tools deploy/demo-model/tools",
            "gemma4edge run model.gguf - --temperature 0 --max-tokens 100 --json < prompt.txt")
        {
            model, prompt, system, tools,
        };
        var sampling = new SamplingFlags(verb);
        verb.Options.Add(json);
        var options = new ModelFlags(verb);
        verb.SetAction(parsed =>
        {
            using InferenceEngine engine = InferenceEngine.Open(options.Read(parsed, parsed.GetRequiredValue(model)));
            string text = parsed.GetRequiredValue(prompt);
            var request = new PromptRequest
            {
                Id = "run",
                Prompt = text == "-" ? terminal.In.ReadToEnd() : text,
                System = parsed.GetValue(system),
                Tools = parsed.GetValue(tools) is { } file ? ToolsFile.Read(file) : null,
                Sampling = sampling.Read(parsed, engine.DefaultSampling),
                MaxTokens = sampling.MaxTokens(parsed),
                Think = sampling.Think(parsed),
                ReceivedTimestamp = Stopwatch.GetTimestamp(),
            };
            ChatSession session = engine.OpenSession();
            using var sink = new ConsoleSink(terminal);
            sink.OnDone(session.Generate(request, sink, terminal.Interrupted));
        });
        return verb;
    }
}
