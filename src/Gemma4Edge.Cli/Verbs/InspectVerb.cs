using System.CommandLine;
using System.Text.Json;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>inspect</c>: what is in a model file.</summary>
internal static class InspectVerb
{
    private const string Architecture = "gemma4";
    private static readonly int[] s_contexts = [1024, 4096, 16384, 131072];

    public static Command Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "Model file or folder" };
        var tensors = new Option<bool>("--tensors") { Description = "List every tensor" };
        var json = new Option<bool>("--json") { Description = "Print one JSON object, tensors included" };
        var verify = new Option<bool>("--verify") { Description = "Read everything and hold it against the checksums in the file" };
        var verb = new Verb(
            "inspect",
            "Shows what is in a model file: shapes, formats, bytes read per token, memory it will need",
            "gemma4edge inspect deploy/demo-model",
            "gemma4edge inspect model.gguf --tensors",
            "gemma4edge inspect model.gguf --verify",
            "gemma4edge inspect model.gguf --json | jq .bytes_per_token")
        {
            model, tensors, verify, json,
        };
        verb.SetAction(parsed =>
        {
            using LoadedModel loaded = LoadedModel.Open(parsed.GetRequiredValue(model));
            if (parsed.GetValue(verify))
            {
                Verify(terminal, loaded);
            }

            if (parsed.GetValue(json))
            {
                JsonOutput.WriteObject(terminal.Out, writer => WriteJson(writer, loaded));
                return;
            }

            WriteSummary(terminal, loaded);
            if (parsed.GetValue(tensors))
            {
                WriteTensors(terminal, loaded);
            }
        });
        return verb;
    }

    /// <summary>Ends with an error if the data is not what was written.</summary>
    private static void Verify(Terminal terminal, LoadedModel model)
    {
        if (!model.HasChecksums)
        {
            throw CommandException.Failed($"{model.Path} has no checksums to verify: only files made by convert have them.");
        }

        using var progress = new Progress(terminal, "Verifying");
        IReadOnlyList<string> damaged = model.Verify(progress.Report, terminal.Interrupted);
        if (damaged.Count > 0)
        {
            string more = damaged.Count > 1 ? $" and {damaged.Count - 1} more do" : " does";
            throw new CommandException(ExitCode.BadModelFile, $"{model.Path}: {damaged[0]}{more} not match the checksums: get the file again.");
        }

        terminal.Error.WriteLine($"{model.Tensors.Count} tensors match their checksums.");
    }

    private static void WriteJson(Utf8JsonWriter json, LoadedModel model)
    {
        json.WriteString("architecture", Architecture);
        json.WriteString("name", model.Name);
        json.WriteString("container", model.Format);
        json.WriteNumber("parameters", model.ParameterCount);
        json.WriteNumber("file_bytes", model.FileBytes);
        json.WriteNumber("bytes_per_token", model.BytesPerToken);
        json.WriteNumber("ple_bytes", model.PleBytes);
        json.WriteNumber("context_length", model.Config.MaxPositionEmbeddings);
        json.WriteStartArray("tensors");
        foreach (TensorInfo tensor in model.Tensors)
        {
            json.WriteStartObject();
            json.WriteString("name", tensor.Name);
            json.WriteStartArray("shape");
            foreach (int dimension in tensor.Shape)
            {
                json.WriteNumberValue(dimension);
            }

            json.WriteEndArray();
            json.WriteString("format", tensor.Format);
            json.WriteNumber("bits", tensor.Bits);
            json.WriteNumber("bytes", tensor.Bytes);
            json.WriteNumber("offset", tensor.Offset);
            json.WriteString("file", tensor.File);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteSummary(Terminal terminal, LoadedModel model)
    {
        Gemma4Config config = model.Config;
        int full = config.LayerTypes.Count(type => type == LayerType.Full);
        TextWriter output = terminal.Out;
        output.WriteLine(terminal.Bold($"{model.Name} ({Architecture}, {model.Format})"));
        Line("parameters", $"{model.ParameterCount / 1e6:F2} M in {ByteSize.Text(model.FileBytes)}");
        Line("formats", string.Join(", ", model.Tensors.GroupBy(t => t.Format).OrderByDescending(g => g.Sum(t => t.Bytes)).Select(g => $"{g.Key} {ByteSize.Text(g.Sum(t => t.Bytes))}")));
        Line("layers", $"{config.NumHiddenLayers}: {config.NumHiddenLayers - full} sliding (window {config.SlidingWindow}), {full} full; the last {config.NumKvSharedLayers} share keys and values");
        Line("widths", $"hidden {config.HiddenSize}, feed-forward {Distinct(config.IntermediateSizes)}, vocabulary {config.VocabSize}");
        Line("heads", $"{config.NumAttentionHeads} query, {Distinct(config.NumKeyValueHeads)} key/value; size {config.HeadDim} sliding, {config.GlobalHeadDim} full");
        if (config.NumExperts > 0)
        {
            Line("experts", $"{config.NumExperts}, {config.TopKExperts} used per token, width {config.MoeIntermediateSize}");
        }

        Line("per token", $"{ByteSize.Text(model.BytesPerToken)} of weights are read for each decoded token");
        if (model.PleBytes > 0)
        {
            Line("on disk", $"{ByteSize.Text(model.PleBytes)} of per-layer embeddings stay there; a token reads one row");
        }

        Line("context", $"{config.MaxPositionEmbeddings} tokens");
        foreach (int context in s_contexts.Where(context => context < config.MaxPositionEmbeddings).Append(config.MaxPositionEmbeddings))
        {
            Line("", $"KV cache at {context,6} tokens: {string.Join(", ", KvCacheFormat.All.Select(format => $"{format.Preset} {ByteSize.Text(KvBytes(format, context))}"))}");
        }

        long KvBytes(KvCacheFormat format, int context) => KvCache.BytesOf(config, format, context, EngineOptions.DefaultPrefillChunk);

        void Line(string label, string value) => output.WriteLine($"  {label,-11} {value}");
    }

    private static void WriteTensors(Terminal terminal, LoadedModel model)
    {
        var table = new TextTable("tensor", "shape", "format", "bits", "bytes", "offset", "file");
        foreach (TensorInfo tensor in model.Tensors)
        {
            table.Add(tensor.Name, string.Join('×', tensor.Shape), tensor.Format, $"{tensor.Bits:0.##}", $"{tensor.Bytes}", $"{tensor.Offset}", tensor.File);
        }

        terminal.Out.WriteLine();
        table.Write(terminal);
    }

    private static string Distinct(IEnumerable<int> values) => string.Join(" or ", values.Distinct());
}
