using System.CommandLine;
using System.Diagnostics;
using System.Text;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Tools;

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
            "Answers one prompt, streamed to stdout; tool calls are checked, shown and not carried out",
            "gemma4edge run model.gguf \"Name three herbs.\"",
            "gemma4edge run deploy/demo-model \"turn on the kitchen light\" --system \"Areas: kitchen, office.\" --tools deploy/demo-model/tools",
            "gemma4edge run model.gguf - --temperature 0 --max-tokens 100 --json < prompt.txt")
        {
            model, prompt, system, tools,
        };
        var sampling = new SamplingFlags(verb);
        verb.Options.Add(json);
        var options = new ModelFlags(verb);
        verb.SetAction(async (parsed, _) =>
        {
            string text = parsed.GetRequiredValue(prompt);
            text = text == "-" ? await terminal.ReadToEndAsync().ConfigureAwait(false) : text;
            using InferenceEngine engine = InferenceEngine.Open(options.Read(parsed, parsed.GetRequiredValue(model)));
            IReadOnlyList<ToolDefinition> declared = parsed.GetValue(tools) is { } file ? ToolFiles.Load(file) : [];
            var check = new CallCheck(declared, terminal.Error.WriteLine);
            var request = new PromptRequest
            {
                Id = "run",
                Prompt = text,
                System = parsed.GetValue(system),
                Tools = declared,
                Sampling = sampling.Read(parsed, engine.DefaultSampling),
                MaxTokens = sampling.MaxTokens(parsed),
                Think = sampling.Think(parsed),
                ReceivedTimestamp = Stopwatch.GetTimestamp(),
            };
            ChatSession session = engine.OpenSession();
            bool inJson = parsed.GetValue(json);
            using var sink = new ConsoleSink(inJson ? terminal.WithoutOutput() : terminal, check.Problem);
            try
            {
                GenerationResult result = session.Generate(request, sink, terminal.Interrupted);
                sink.OnDone(result);
                if (inJson)
                {
                    terminal.Out.WriteLine(Encoding.UTF8.GetString(Payloads.Done(request.Id, 0, result, declared, check.Problem)));
                }

                return ExitCode.Done;
            }
            catch (ContextOverflowException e) when (inJson)
            {
                terminal.Out.WriteLine(Encoding.UTF8.GetString(Payloads.Error(request.Id, 0, Failures.ContextOverflow(e))));
                return ExitCode.Failed;
            }
        });
        return verb;
    }
}
