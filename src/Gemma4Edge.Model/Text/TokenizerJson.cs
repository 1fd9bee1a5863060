using System.Text.Json;

namespace Gemma4Edge.Model.Text;

/// <summary>Reads the vocabulary out of a Hugging Face <c>tokenizer.json</c>: <c>model.vocab</c>, <c>model.merges</c>, <c>added_tokens</c>.</summary>
/// <remarks>
/// Nothing in the file is trusted: ids must run from 0 without a hole, no id and no piece may stand twice, and nothing is nested deeper than
/// the format needs. The file is read token by token; no document tree of its half a million merges is built.
/// </remarks>
internal static class TokenizerJson
{
    private const int MaxFileBytes = 256 << 20;
    private const int MaxTokens = 1 << 20;
    private const int MaxDepth = 16;

    /// <exception cref="FormatException">It is not a BPE tokenizer.json; the message says what is wrong.</exception>
    public static Vocabulary Read(Stream stream)
    {
        var file = new Contents();
        try
        {
            var json = new Utf8JsonReader(ReadAll(stream), new JsonReaderOptions { MaxDepth = MaxDepth });
            Expect(ref json, JsonTokenType.StartObject, "the file");
            while (NextProperty(ref json, out string name))
            {
                switch (name)
                {
                    case "added_tokens": file.ReadAddedTokens(ref json); break;
                    case "model": file.ReadModel(ref json); break;
                    default: json.Skip(); break;
                }
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new FormatException($"It is not readable as JSON: {JsonFault.Of(e)}", e);
        }
        return file.ToVocabulary();
    }

    /// <summary>The whole stream, if it is not larger than any tokenizer file has reason to be.</summary>
    internal static byte[] ReadAll(Stream stream)
    {
        var bytes = new MemoryStream();
        byte[] chunk = new byte[1 << 16];
        for (int read; (read = stream.Read(chunk)) > 0;)
        {
            bytes.Write(chunk, 0, read);
            if (bytes.Length > MaxFileBytes)
            {
                throw new FormatException($"The tokenizer file is larger than {MaxFileBytes >> 20} MiB.");
            }
        }
        return bytes.ToArray();
    }

    private static bool NextProperty(ref Utf8JsonReader json, out string name)
    {
        json.Read();
        bool found = json.TokenType == JsonTokenType.PropertyName;
        name = found ? json.GetString()! : "";
        if (found)
        {
            json.Read();
        }
        return found;
    }

    private static void Expect(ref Utf8JsonReader json, JsonTokenType type, string where)
    {
        if (json.TokenType == JsonTokenType.None)
        {
            json.Read();
        }
        if (json.TokenType != type)
        {
            throw new FormatException($"In tokenizer.json {where} is {Word(json.TokenType)}, expected {Word(type)}.");
        }
    }

    private static string Word(JsonTokenType type) => type switch
    {
        JsonTokenType.StartObject => "an object",
        JsonTokenType.StartArray => "an array",
        JsonTokenType.String => "a string",
        JsonTokenType.Number => "a number",
        JsonTokenType.Null => "null",
        _ => "true or false",
    };

    private sealed class Contents
    {
        private readonly Dictionary<int, string> _vocab = [];
        private readonly Dictionary<int, string> _added = [];
        private readonly PackedStringsBuilder _merges = new();
        private byte[] _text = new byte[1024];

        public void ReadAddedTokens(ref Utf8JsonReader json)
        {
            Expect(ref json, JsonTokenType.StartArray, "added_tokens");
            while (json.Read() && json.TokenType != JsonTokenType.EndArray)
            {
                Expect(ref json, JsonTokenType.StartObject, "an entry of added_tokens");
                int id = -1;
                string content = "";
                while (NextProperty(ref json, out string name))
                {
                    switch (name)
                    {
                        case "id": id = ReadId(ref json, "added_tokens"); break;
                        case "content": content = json.GetString() ?? ""; break;
                        default: json.Skip(); break;
                    }
                }
                if (id < 0 || !_added.TryAdd(id, content))
                {
                    throw new FormatException($"In added_tokens there is {(id < 0 ? "an entry without id" : $"id {id} twice")}.");
                }
            }
        }

        public void ReadModel(ref Utf8JsonReader json)
        {
            Expect(ref json, JsonTokenType.StartObject, "model");
            while (NextProperty(ref json, out string name))
            {
                switch (name)
                {
                    case "type" when json.GetString() is var type && type != "BPE":
                        throw new FormatException($"model.type is '{type}', expected BPE.");
                    case "vocab": ReadVocab(ref json); break;
                    case "merges": ReadMerges(ref json); break;
                    default: json.Skip(); break;
                }
            }
        }

        public Vocabulary ToVocabulary()
        {
            foreach ((int id, string content) in _added)
            {
                if (!_vocab.TryAdd(id, content) && _vocab[id] != content)
                {
                    throw new FormatException($"Token {id} is '{_vocab[id]}' in model.vocab but '{content}' in added_tokens.");
                }
            }
            var pieces = new PackedStringsBuilder();
            var kinds = new PieceKind[_vocab.Count];
            for (int id = 0; id < _vocab.Count; id++)
            {
                if (!_vocab.TryGetValue(id, out string? piece))
                {
                    throw new FormatException($"Token {id} is missing; ids must run from 0 to {_vocab.Count - 1}.");
                }
                pieces.Add(System.Text.Encoding.UTF8.GetBytes(piece));
                kinds[id] = _added.ContainsKey(id) ? PieceKind.UserDefined : PieceKind.Normal;
            }
            return new Vocabulary { Pieces = pieces.Build(), Kinds = kinds, Merges = _merges.Build() };
        }

        private void ReadVocab(ref Utf8JsonReader json)
        {
            Expect(ref json, JsonTokenType.StartObject, "model.vocab");
            while (NextProperty(ref json, out string piece))
            {
                int id = ReadId(ref json, "model.vocab");
                if (!_vocab.TryAdd(id, piece))
                {
                    throw new FormatException($"In model.vocab there is id {id} twice.");
                }
            }
        }

        private void ReadMerges(ref Utf8JsonReader json)
        {
            Expect(ref json, JsonTokenType.StartArray, "model.merges");
            while (json.Read() && json.TokenType != JsonTokenType.EndArray)
            {
                if (json.TokenType == JsonTokenType.String)          // "left right"
                {
                    _merges.Add(_text.AsSpan(0, CopyString(ref json, 0)));
                    continue;
                }
                Expect(ref json, JsonTokenType.StartArray, "an entry of model.merges");     // ["left", "right"]
                json.Read();
                int left = CopyString(ref json, 0);
                _text[left] = (byte)' ';
                json.Read();
                int end = CopyString(ref json, left + 1);
                json.Read();
                if (json.TokenType != JsonTokenType.EndArray || _text.AsSpan(0, end).Count((byte)' ') != 1)
                {
                    throw new FormatException($"Entry {_merges.Count} of model.merges is not two pieces without a space.");
                }
                _merges.Add(_text.AsSpan(0, end));
            }
        }

        /// <summary>Unescapes the string at the reader into the buffer from <paramref name="start"/> on, one byte left free; returns its end.</summary>
        private int CopyString(ref Utf8JsonReader json, int start)
        {
            int needed = start + json.ValueSpan.Length + 1;
            if (needed > _text.Length)
            {
                Array.Resize(ref _text, needed * 2);
            }
            return start + json.CopyString(_text.AsSpan(start));
        }

        private static int ReadId(ref Utf8JsonReader json, string where) =>
            json.TryGetInt32(out int id) && id is >= 0 and < MaxTokens
                ? id
                : throw new FormatException($"An id in {where} is not between 0 and {MaxTokens - 1}.");
    }
}
