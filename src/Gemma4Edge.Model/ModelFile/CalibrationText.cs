using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>A piece of a calibration file as tokens.</summary>
/// <param name="Tokens">Prompt and answer, or plain text, <c>&lt;bos&gt;</c> first where the vocabulary has one.</param>
/// <param name="PromptCount">Tokens the network reads without being asked what comes next; 0 = plain text.</param>
internal sealed record CalibrationText(int[] Tokens, int PromptCount)
{
    /// <summary>Tokens after which the network predicts.</summary>
    public int AnswerCount => Tokens.Length - PromptCount;

    /// <summary>Reads a file from its start until there are <paramref name="maxTokens"/> tokens.</summary>
    /// <param name="path">Text, or JSON lines (<c>.jsonl</c>) with <c>text</c>, or <c>prompt</c> and <c>completion</c>.</param>
    /// <param name="tokenizer">The model's.</param>
    /// <param name="context">Most tokens of a piece: longer text is cut into several, of a longer prompt the start is left out.</param>
    /// <param name="maxTokens">The last piece may exceed it.</param>
    /// <exception cref="ConversionException">The file is not there, has no text, or a line is of another kind.</exception>
    public static List<CalibrationText> Read(string path, GemmaTokenizer tokenizer, int context, int maxTokens)
    {
        if (!File.Exists(path))
        {
            throw new ConversionException($"{path} {(Directory.Exists(path) ? "is a folder" : "does not exist")}: give a text file or JSON lines to calibrate with.");
        }

        List<CalibrationText> texts = [];
        int tokens = 0;
        foreach ((string prompt, string answer) in Entries(path))
        {
            List<int> ids = [];
            tokenizer.Encode(prompt, specialTokens: true, ids);
            int promptCount = Math.Max(0, ids.Count - 1); // its last token is the first that something is predicted after
            tokenizer.Encode(answer, specialTokens: true, ids);
            foreach (CalibrationText text in Pieces(ids, promptCount, tokenizer.Special.Bos, context).TakeWhile(_ => tokens < maxTokens))
            {
                texts.Add(text);
                tokens += text.Tokens.Length;
            }

            if (tokens >= maxTokens)
            {
                break;
            }
        }

        return texts.Count > 0 ? texts : throw new ConversionException($"{path} has no text to calibrate with: give a text file or JSON lines with text.");
    }

    private static IEnumerable<CalibrationText> Pieces(List<int> ids, int promptCount, int bos, int context)
    {
        if (promptCount > 0)
        {
            int[] last = [.. ids.TakeLast(context)];
            return [new CalibrationText(last, Math.Max(0, promptCount - (ids.Count - last.Length)))];
        }

        return ids.Chunk(context - 1).Select(part => new CalibrationText(bos < 0 || part[0] == bos ? part : [bos, .. part], 0));
    }

    /// <summary>Prompt and answer; a text without a prompt is all answer.</summary>
    private static IEnumerable<(string Prompt, string Answer)> Entries(string path)
    {
        if (!path.EndsWith(".jsonl", StringComparison.OrdinalIgnoreCase))
        {
            return [("", File.ReadAllText(path))];
        }

        return File.ReadLines(path)
            .Select((line, index) => (Line: line, Number: index + 1))
            .Where(entry => !string.IsNullOrWhiteSpace(entry.Line))
            .Select(entry => Parse(entry.Line) ?? throw new ConversionException(
                $"{path} line {entry.Number} is no JSON object with 'text', or with 'prompt' and 'completion': give one of them in every line."));
    }

    private static (string Prompt, string Answer)? Parse(string line)
    {
        try
        {
            JsonElement item = JsonElement.Parse(line);
            return Text(item, "text") is { } text ? ("", text)
                : Text(item, "prompt") is { } prompt && Text(item, "completion") is { } completion ? (prompt, completion)
                : null;
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException) // the second: no object, or half a surrogate pair
        {
            return null;
        }
    }

    private static string? Text(JsonElement item, string key) =>
        item.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
