using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Cli;

/// <summary>Tool declarations on disk: a file with one or a list of them, or a folder of such files. OpenAI's form, or what stands under its <c>function</c> alone.</summary>
internal static class ToolsFile
{
    /// <exception cref="CommandException">A file is not there or holds something else.</exception>
    public static IReadOnlyList<ToolDefinition> Read(string path)
    {
        string[] files = Directory.Exists(path) ? [.. Directory.GetFiles(path, "*.json").Order(StringComparer.Ordinal)] : [path];
        return [.. files.SelectMany(ReadFile)];
    }

    private static List<ToolDefinition> ReadFile(string path)
    {
        try
        {
            JsonElement root = JsonElement.Parse(File.ReadAllText(path));
            return [.. (root.ValueKind == JsonValueKind.Array ? root.EnumerateArray().ToArray() : [root]).Select(ReadTool)];
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException)
        {
            throw CommandException.Failed($"{path}: {e.Message} Expected tools as {{\"name\", \"description\", \"parameters\"}}.");
        }
    }

    private static ToolDefinition ReadTool(JsonElement tool) =>
        ToolDefinition.Parse(tool.ValueKind == JsonValueKind.Object && tool.TryGetProperty("function", out _)
            ? tool
            : JsonElement.Parse($$"""{"function":{{tool.GetRawText()}}}"""));
}
