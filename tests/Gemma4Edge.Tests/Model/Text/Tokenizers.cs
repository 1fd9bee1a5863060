using System.Text;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Tests.Model.Text;

/// <summary>The tokenizers the text tests share, each loaded once.</summary>
internal static class Tokenizers
{
    private static readonly Lazy<GemmaTokenizer> s_gemma4 = new(() => LoadedModel.OpenTokenizer(TestData.Decompressed("oracle/tokenizer/ggml-vocab-gemma-4.gguf")));
    private static readonly Lazy<GemmaTokenizer> s_json = new(() => Load("tokenizer.json", GemmaTokenizer.FromTokenizerJson));
    private static readonly Lazy<GemmaTokenizer> s_model = new(() => Load("tokenizer.model", GemmaTokenizer.FromSentencePiece));
    private static readonly Lazy<GemmaTokenizer> s_gguf = new(() => GemmaTokenizer.FromVocabulary(DemoAsGguf()));

    /// <summary>The real vocabulary: 262144 pieces.</summary>
    public static GemmaTokenizer Gemma4 => s_gemma4.Value;

    /// <summary>The demo model's tokenizer.json.</summary>
    public static GemmaTokenizer DemoJson => s_json.Value;

    /// <summary>The demo model's tokenizer.model.</summary>
    public static GemmaTokenizer DemoSentencePiece => s_model.Value;

    /// <summary>The demo model's pieces and merges with the types that a GGUF gives them.</summary>
    public static GemmaTokenizer DemoGguf => s_gguf.Value;

    public static GemmaTokenizer ByName(string name) => name switch
    {
        "gemma4" => Gemma4,
        "json" => DemoJson,
        "model" => DemoSentencePiece,
        _ => DemoGguf,
    };

    public static List<int> Encode(this GemmaTokenizer tokenizer, string text, bool specialTokens = false)
    {
        List<int> ids = [];
        tokenizer.Encode(text, specialTokens, ids);
        return ids;
    }

    /// <summary>A vocabulary from strings; merges are "left right".</summary>
    public static Vocabulary Make(IEnumerable<string> pieces, IEnumerable<string> merges, Func<string, PieceKind> kind)
    {
        string[] all = [.. pieces];
        return new Vocabulary { Pieces = Pack(all), Kinds = [.. all.Select(kind)], Merges = Pack([.. merges]) };
    }

    private static Vocabulary DemoAsGguf()
    {
        Vocabulary json = TokenizerJson.Read(File.OpenRead(Path.Combine(TestData.DemoModel, "tokenizer.json")));
        string[] pieces = [.. Enumerable.Range(0, json.Pieces.Count).Select(id => Encoding.UTF8.GetString(json.Pieces[id]))];
        return new Vocabulary
        {
            Pieces = json.Pieces,
            Merges = json.Merges,
            Kinds = [.. pieces.Select((piece, id) =>
                SpecialTokens.Names.Contains(piece) ? PieceKind.Control
                : piece.StartsWith("<0x", StringComparison.Ordinal) ? PieceKind.Byte
                : json.Kinds[id])],
        };
    }

    private static PackedStrings Pack(string[] strings)
    {
        var packed = new PackedStringsBuilder();
        foreach (string s in strings)
        {
            packed.Add(Encoding.UTF8.GetBytes(s));
        }
        return packed.Build();
    }

    private static GemmaTokenizer Load(string name, Func<Stream, GemmaTokenizer> load)
    {
        using FileStream stream = File.OpenRead(Path.Combine(TestData.DemoModel, name));
        return load(stream);
    }
}
