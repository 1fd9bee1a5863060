using System.Globalization;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>A made-up vocabulary with Gemma 4's special ids, byte pieces, ASCII and numbered words: enough for any tokenizer to load and to spell any text.</summary>
internal static class SyntheticVocabulary
{
    private const int FirstByte = 238; // as in Gemma 4, newline pieces too
    private const int Newline = 107;
    private const int DoubleNewline = 108;
    private const float NoScore = -1000; // merges rank, scores do not

    private static readonly (int Id, string Text)[] s_special =
    [
        (0, "<pad>"), (1, "<eos>"), (2, "<bos>"), (3, "<unk>"), (4, "<mask>"),
        (46, "<|tool>"), (47, "<tool|>"), (48, "<|tool_call>"), (49, "<tool_call|>"), (50, "<|tool_response>"), (51, "<tool_response|>"), (52, "<|\"|>"),
        (98, "<|think|>"), (100, "<|channel>"), (101, "<channel|>"), (105, "<|turn>"), (106, "<turn|>"),
        (255_999, "<|image>"), (256_000, "<|audio>"), (258_880, "<|image|>"), (258_881, "<|audio|>"), (258_882, "<image|>"), (258_883, "<audio|>"), (258_884, "<|video|>"),
    ];

    /// <summary>Adds the <c>tokenizer.ggml</c> keys for <paramref name="size"/> token ids; special ids beyond the size are left out.</summary>
    public static void AddTo(GgufWriter writer, int size)
    {
        var pieces = new string?[size];
        var kinds = new int[size];
        Array.Fill(kinds, (int)PieceKind.Normal);
        foreach ((int id, string text) in s_special.TakeWhile(special => special.Id < size))
        {
            pieces[id] = text;
            kinds[id] = (int)PieceKind.Control;
        }

        pieces[Newline] = "\n";
        pieces[DoubleNewline] = "\n\n";
        for (int value = 0; value < 256; value++)
        {
            pieces[FirstByte + value] = $"<0x{value:X2}>";
            kinds[FirstByte + value] = (int)PieceKind.Byte;
        }

        var words = Words().GetEnumerator();
        for (int id = 0; id < size; id++)
        {
            if (pieces[id] is null)
            {
                words.MoveNext();
                pieces[id] = words.Current;
            }
        }

        writer.Add("tokenizer.ggml.model", "gemma4");
        writer.Add("tokenizer.ggml.tokens", pieces!);
        writer.Add("tokenizer.ggml.scores", [.. Enumerable.Repeat(NoScore, size)]);
        writer.Add("tokenizer.ggml.token_type", kinds);
        writer.Add("tokenizer.ggml.merges", ["\n \n", "t h", "th e", "▁ the"]);
        writer.Add("tokenizer.ggml.bos_token_id", 2u);
        writer.Add("tokenizer.ggml.eos_token_id", 106u);
        writer.Add("tokenizer.ggml.unknown_token_id", 3u);
        writer.Add("tokenizer.ggml.padding_token_id", 0u);
        writer.Add("tokenizer.ggml.add_bos_token", true);
        writer.Add("tokenizer.ggml.add_space_prefix", false);
    }

    private static IEnumerable<string> Words()
    {
        yield return "▁";
        for (char character = '!'; character <= '~'; character++)
        {
            yield return character.ToString();
        }

        yield return "th";
        yield return "the";
        yield return "▁the";
        for (int number = 0; ; number++)
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"▁word{number}");
        }
    }
}
