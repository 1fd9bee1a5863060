using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>convert</c>: a model in fewer bytes.</summary>
internal static class ConvertVerb
{
    public static Command Create(Terminal terminal)
    {
        var source = new Argument<string>("IN") { Description = "Hugging Face folder or GGUF file" };
        var target = new Argument<string>("OUT") { Description = "The GGUF file to make or replace" };
        var weights = new ChoiceOption("--weights", "auto", "Format of the matrices", FormatChoice.Names);
        var tensors = new Option<string[]>("--tensor") { Description = "Format of the tensors with this name; * and ? match anything; may be repeated, the last that matches counts", HelpName = "NAME=FORMAT" };
        var adapter = new Option<string?>("--adapter") { Description = "Add a LoRA adapter (PEFT or Unsloth) to the weights first", HelpName = "DIR" };
        var calibration = new Option<string?>("--calibration") { Description = "Choose the codes of tq4, tq3 and tq2 for what the model does with this text, or JSON lines with text, or prompt and completion; not with --adapter", HelpName = "FILE" };
        var threads = new CountOption("--threads", 0, 0, "Threads; 0 = one per core");
        var json = new Option<bool>("--json") { Description = "Print one JSON object" };
        var verb = new Verb(
            "convert",
            "Makes a TurboQuant GGUF (or a plain one) of a Hugging Face folder or a GGUF",
            "gemma4edge convert ./gemma-4-E2B-it e2b.gguf",
            "gemma4edge convert ./gemma-4-E2B-it e2b.gguf --weights tq3 --calibration sample.txt",
            "gemma4edge convert model.gguf small.gguf --weights tq3 --tensor '*o_proj*=tq4'",
            "gemma4edge convert ./gemma-4-E2B-it plain.gguf --weights q8_0")
        {
            source, target, weights, tensors, adapter, calibration, threads, json,
        };
        verb.Notes = "auto takes the integers of quantization-aware training over exactly where it finds them, and uses tq4 elsewhere. "
            + "q8_0, q4_0 and bf16 make plain GGUF files that other programs read. OUT is complete or not there at all.";
        verb.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(target);
            var options = new ConversionOptions
            {
                Weights = parsed.GetValue(weights)!,
                Tensors = [.. (parsed.GetValue(tensors) ?? []).Select(ParseOverride)],
                Adapter = parsed.GetValue(adapter),
                Calibration = parsed.GetValue(calibration),
                Threads = parsed.GetValue(threads),
            };
            IReadOnlyList<ConvertedTensor> report = Convert(terminal, parsed.GetRequiredValue(source), path, options);
            using LoadedModel made = LoadedModel.Open(path);
            if (parsed.GetValue(json))
            {
                JsonOutput.WriteObject(terminal.Out, writer => WriteJson(writer, made, report));
            }
            else
            {
                WriteTable(terminal, made, report);
            }
        });
        return verb;
    }

    private static IReadOnlyList<ConvertedTensor> Convert(Terminal terminal, string source, string target, ConversionOptions options)
    {
        string? doing = null;
        Progress? progress = null;
        try
        {
            return ModelConverter.Convert(source, target, options, Report, terminal.Interrupted);
        }
        finally
        {
            progress?.Dispose();
        }

        void Report(string work, long done, long total)
        {
            if (work != doing)
            {
                progress?.Dispose();
                (doing, progress) = (work, new Progress(terminal, work));
            }

            progress!.Report(done, total);
        }
    }

    private static KeyValuePair<string, string> ParseOverride(string text) => text.Split('=') is [{ Length: > 0 } name, { Length: > 0 } format]
        ? new(name, format)
        : throw CommandException.WrongUsage($"--tensor '{text}' is not NAME=FORMAT: write for example --tensor '*o_proj*=q8'.");

    private static void WriteJson(Utf8JsonWriter json, LoadedModel made, IReadOnlyList<ConvertedTensor> report)
    {
        json.WriteString("out", made.Path);
        json.WriteNumber("file_bytes", made.FileBytes);
        json.WriteNumber("bytes_per_token", made.BytesPerToken);
        json.WriteStartArray("tensors");
        foreach (ConvertedTensor tensor in report)
        {
            json.WriteStartObject();
            json.WriteString("name", tensor.Name);
            json.WriteString("from", tensor.From);
            json.WriteString("format", tensor.Format);
            json.WriteNumber("bits", tensor.Bits);
            json.WriteNumber("bytes", tensor.Bytes);
            json.WriteNumber("relative_error", tensor.RelativeError);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteTable(Terminal terminal, LoadedModel made, IReadOnlyList<ConvertedTensor> report)
    {
        var table = new TextTable("tensor", "from", "format", "bits", "bytes", "relative error");
        foreach (ConvertedTensor tensor in report)
        {
            table.Add(tensor.Name, tensor.From, tensor.Format, $"{tensor.Bits:0.###}", $"{tensor.Bytes}", tensor.RelativeError.ToString("G3", CultureInfo.InvariantCulture));
        }

        table.Write(terminal);
        terminal.Out.WriteLine();
        terminal.Out.WriteLine($"{made.Path}: {made.FileBytes / 1e6:F2} MB, {made.BytesPerToken / 1e6:F2} MB read for each decoded token");
    }
}
