using System.IO.Compression;
using System.Runtime.CompilerServices;
using BenchmarkDotNet.Attributes;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Benchmarks;

/// <summary>The worst line for a tokenizer that merges whole fragments: 200 000 characters without a space, on the real vocabulary.</summary>
public class TokenizerBenchmarks
{
    private readonly string _line = string.Concat(Enumerable.Range(0, 200_000).Select(i => (char)('a' + (i * 7919 % 26))));
    private readonly List<int> _ids = [];
    private GemmaTokenizer? _tokenizer;

    /// <summary>Unpacks the vocabulary and builds the tokenizer.</summary>
    [GlobalSetup]
    public void Setup()
    {
        string unpacked = Path.GetTempFileName();
        using (var from = new BrotliStream(File.OpenRead(VocabularyPath()), CompressionMode.Decompress))
        using (FileStream to = File.Create(unpacked))
        {
            from.CopyTo(to);
        }

        _tokenizer = LoadedModel.OpenTokenizer(unpacked);
        File.Delete(unpacked);
    }

    /// <summary>Text to token ids.</summary>
    [Benchmark]
    public int EncodeLongLine()
    {
        _ids.Clear();
        _tokenizer!.Encode(_line, specialTokens: false, _ids);
        return _ids.Count;
    }

    private static string VocabularyPath([CallerFilePath] string source = "") =>
        Path.Combine(Path.GetDirectoryName(source)!, "..", "data", "oracle", "tokenizer", "ggml-vocab-gemma-4.gguf.br");
}
