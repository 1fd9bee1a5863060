using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Cli;

/// <summary>Files with one JSON object a line.</summary>
internal static class JsonLines
{
    /// <summary>Reads <paramref name="path"/> lazily; what <paramref name="parse"/> refuses is reported with its line.</summary>
    /// <exception cref="CommandException">The file is not there, a line is no JSON object, or <paramref name="parse"/> threw a FormatException.</exception>
    public static IEnumerable<T> Read<T>(string path, Func<JsonElement, T> parse)
    {
        InputFile.Expect(path, "a file with one JSON object a line");
        return ReadLines();

        IEnumerable<T> ReadLines()
        {
            int line = 0;
            foreach (string text in File.ReadLines(path))
            {
                line++;
                if (!string.IsNullOrWhiteSpace(text))
                {
                    yield return ParseLine(path, line, text, parse);
                }
            }
        }
    }

    private static T ParseLine<T>(string path, int line, string text, Func<JsonElement, T> parse)
    {
        try
        {
            JsonElement element = JsonElement.Parse(text);
            return element.ValueKind == JsonValueKind.Object ? parse(element) : throw new FormatException("expected a JSON object.");
        }
        catch (JsonException e)
        {
            throw CommandException.Failed($"{path}: {JsonFault.Of(e, line)} Expected one JSON object a line.");
        }
        catch (Exception e) when (e is FormatException or InvalidOperationException) // the latter: half a surrogate pair
        {
            throw CommandException.Failed($"{path} line {line}: {JsonFault.Of(e)}");
        }
    }
}
