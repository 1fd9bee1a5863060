using System.Buffers;
using System.Text;

namespace Gemma4Edge.Model.Text;

/// <summary>Turns generated ids into text as they come; never emits half a character.</summary>
/// <remarks>
/// Bytes that begin a character wait for the rest; bytes that cannot become one print U+FFFD, as .NET's UTF-8 decoder does. A leading space
/// stays. Ids outside the vocabulary print nothing. Holds the state of one stream: not for use from two threads.
/// </remarks>
/// <param name="tokenizer">Gives the bytes of each token.</param>
/// <param name="showSpecialTokens">Whether a special token prints its name (for checking) or nothing.</param>
public sealed class Detokenizer(GemmaTokenizer tokenizer, bool showSpecialTokens = false)
{
    private const int MaxIncompleteBytes = 3;

    private readonly ArrayBufferWriter<byte> _pending = new(MaxIncompleteBytes);

    /// <summary>Whether bytes of an incomplete character wait.</summary>
    public bool IsPending => _pending.WrittenCount > 0;

    /// <summary>The text that token <paramref name="id"/> completes; often empty.</summary>
    public string Push(int id)
    {
        if (!showSpecialTokens && tokenizer.IsSpecial(id))
        {
            return "";
        }
        ReadOnlySpan<byte> piece = tokenizer.PieceBytes(id);
        if (!IsPending && CompleteLength(piece) == piece.Length)
        {
            return Encoding.UTF8.GetString(piece);
        }
        _pending.Write(piece);
        ReadOnlySpan<byte> bytes = _pending.WrittenSpan;
        int complete = CompleteLength(bytes);
        string text = Encoding.UTF8.GetString(bytes[..complete]);
        byte[] rest = bytes[complete..].ToArray();
        _pending.ResetWrittenCount();
        _pending.Write(rest);
        return text;
    }

    /// <summary>Ends the stream: U+FFFD if a character was left incomplete, else nothing. Ready for another stream.</summary>
    public string Flush()
    {
        string text = Encoding.UTF8.GetString(_pending.WrittenSpan);
        Reset();
        return text;
    }

    /// <summary>Forgets an incomplete character.</summary>
    public void Reset() => _pending.ResetWrittenCount();

    /// <summary>How many bytes stand before a character whose end is still to come.</summary>
    private static int CompleteLength(ReadOnlySpan<byte> utf8)
    {
        for (int start = Math.Max(0, utf8.Length - MaxIncompleteBytes); start < utf8.Length; start++)
        {
            if (Rune.DecodeFromUtf8(utf8[start..], out _, out _) == OperationStatus.NeedMoreData)
            {
                return start;
            }
        }
        return utf8.Length;
    }
}
