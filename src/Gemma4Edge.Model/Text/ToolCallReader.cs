using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Gemma4Edge.Model.Text;

/// <summary>Reads the text of one tool call, <c>call:NAME{key:value,…}</c>, into JSON.</summary>
/// <remarks>
/// A value is a string between two string marks, a number, true, false, null, a list or an object with bare keys. Repaired are the slips that
/// small models make: a mark, quote or brace missing at the end, strings in single or double quotes or without any, a closing brace too many.
/// </remarks>
internal ref partial struct ToolCallReader
{
    /// <summary>Stands for the token <c>&lt;|"|&gt;</c>: U+FFFF, which is no character, so text cannot hold it.</summary>
    public const char StringMark = '\uFFFF';

    private const int MaxDepth = 32;
    private const string Closers = "}]";

    private static readonly SearchValues<char> s_keyEnds = SearchValues.Create(":,{}[]");

    /// <summary>Text stays readable in the JSON: no <c>\u</c> for letters beyond ASCII.</summary>
    private static readonly JsonWriterOptions s_readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly ReadOnlySpan<char> _text;
    private readonly Utf8JsonWriter _json;
    private int _at;
    private int _depth;

    private ToolCallReader(ReadOnlySpan<char> text, Utf8JsonWriter json)
    {
        _text = text;
        _json = json;
    }

    /// <summary>Reads a call; false when it is beyond repair.</summary>
    public static bool TryRead(string text, [NotNullWhen(true)] out ToolCall? call)
    {
        call = null;
        ReadOnlySpan<char> rest = text.AsSpan().Trim();
        if (!rest.StartsWith("call:"))
        {
            return false;
        }
        rest = rest["call:".Length..];
        int brace = rest.IndexOf('{');
        string name = (brace < 0 ? rest : rest[..brace]).Trim().ToString();
        if (name.Length == 0 || name.Contains(StringMark))
        {
            return false;
        }
        var buffer = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(buffer, s_readable);
        var reader = new ToolCallReader(brace < 0 ? "{}" : rest[brace..], json);
        if (!reader.TryObject() || reader._text[reader._at..].Trim().Trim(Closers).Length > 0)
        {
            return false;
        }
        json.Flush();
        try
        {
            call = new ToolCall(name, StrictJson.Parse(buffer.WrittenMemory, MaxDepth));
            return true;
        }
        catch (JsonException)                            // a key that stands twice: which one is meant?
        {
            return false;
        }
    }

    private bool TryObject()
    {
        if (++_depth > MaxDepth)
        {
            return false;
        }
        _at++;                                           // the brace
        _json.WriteStartObject();
        while (!AtEndOf('}'))
        {
            if (!TryKey(out string? key))
            {
                return false;
            }
            _json.WritePropertyName(key);
            if (!TryValue())
            {
                return false;
            }
        }
        _json.WriteEndObject();
        _depth--;
        return true;
    }

    private bool TryArray()
    {
        if (++_depth > MaxDepth)
        {
            return false;
        }
        _at++;                                           // the bracket
        _json.WriteStartArray();
        while (!AtEndOf(']'))
        {
            if (!TryValue())
            {
                return false;
            }
        }
        _json.WriteEndArray();
        _depth--;
        return true;
    }

    /// <summary>Passes spaces and commas; true (and passed) at <paramref name="closer"/>, true at the end of the text, where it is missing.</summary>
    private bool AtEndOf(char closer)
    {
        while (_at < _text.Length && (char.IsWhiteSpace(_text[_at]) || _text[_at] == ','))
        {
            _at++;
        }
        if (_at < _text.Length && _text[_at] != closer)
        {
            return false;
        }
        _at = Math.Min(_at + 1, _text.Length);
        return true;
    }

    private bool TryKey([NotNullWhen(true)] out string? key)
    {
        if (_text[_at] is StringMark or '"' or '\'')
        {
            key = QuotedString(_text[_at]);
            SkipSpaces();
        }
        else
        {
            int length = _text[_at..].IndexOfAny(s_keyEnds);
            key = length < 0 ? "" : _text.Slice(_at, length).Trim().ToString();
            _at += Math.Max(length, 0);
        }
        if (key.Length == 0 || key.Contains(StringMark) || _at >= _text.Length || _text[_at] != ':')
        {
            return false;
        }
        _at++;
        return true;
    }

    private bool TryValue()
    {
        SkipSpaces();
        switch (_at < _text.Length ? _text[_at] : ',')
        {
            case '{':
                return TryObject();
            case '[':
                return TryArray();
            case StringMark or '"' or '\'':
                _json.WriteStringValue(QuotedString(_text[_at]));
                break;
            default:
                if (!TryBareValue())
                {
                    return false;
                }
                break;
        }
        SkipSpaces();
        return _at == _text.Length || _text[_at] == ',' || Closers.Contains(_text[_at]);
    }

    private bool TryBareValue()
    {
        ReadOnlySpan<char> rest = _text[_at..];
        int length = rest.IndexOfAny(",}]");
        string value = (length < 0 ? rest : rest[..length]).Trim().ToString();
        if (value.Length == 0 || value.Contains(StringMark))
        {
            return false;
        }
        _at += length < 0 ? rest.Length : length;
        if (value is "true" or "false" or "null" || Number().IsMatch(value))
        {
            _json.WriteRawValue(value);
        }
        else
        {
            _json.WriteStringValue(value);
        }
        return true;
    }

    /// <summary>The string that begins with <paramref name="quote"/> here, and past its end.</summary>
    private string QuotedString(char quote)
    {
        int start = ++_at;
        while (_at < _text.Length && !IsClosingQuote(quote))
        {
            _at++;
        }
        if (_at == _text.Length)                         // never closed: what closes the call is not part of it
        {
            ReadOnlySpan<char> rest = _text[start..];
            for (int i = 0; i < _depth && rest.Length > 0 && Closers.Contains(rest[^1]); i++)
            {
                rest = rest[..^1];
            }
            return rest.ToString();
        }
        string value = _text[start.._at++].ToString();
        return quote == StringMark ? value : Unescape(value, quote);
    }

    /// <summary>A string mark always closes. A quote closes where the value can end, so that it's need not be escaped.</summary>
    private readonly bool IsClosingQuote(char quote)
    {
        if (_text[_at] != quote)
        {
            return false;
        }
        if (quote == StringMark)
        {
            return true;
        }
        ReadOnlySpan<char> after = _text[(_at + 1)..].TrimStart();
        return _text[_at - 1] != '\\' && (after.IsEmpty || ":,}]".Contains(after[0]));
    }

    private static string Unescape(string value, char quote)
    {
        if (!value.Contains('\\'))
        {
            return value;
        }
        try
        {
            string json = quote == '"' ? value : value.Replace("\\'", "'", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal);
            using JsonDocument text = JsonDocument.Parse($"\"{json}\"");
            return text.RootElement.GetString()!;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return value;                                // no JSON escapes: a backslash is a backslash
        }
    }

    private void SkipSpaces()
    {
        while (_at < _text.Length && char.IsWhiteSpace(_text[_at]))
        {
            _at++;
        }
    }

    [GeneratedRegex(@"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\z", RegexOptions.CultureInvariant)]
    private static partial Regex Number();
}
