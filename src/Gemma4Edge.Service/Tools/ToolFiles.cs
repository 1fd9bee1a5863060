using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Service.Tools;

/// <summary>Reads the declarations of tools.</summary>
public static class ToolFiles
{
    private static readonly string[] s_keys = ["name", "description", "parameters", "response"];

    /// <summary>The tools of a file, or of all *.json files of a folder in order of name. A file holds one tool
    /// <c>{"name", "description", "parameters": JSON schema, "response"}</c> or a list of them; OpenAI's form <c>{"type": "function", "function": {…}}</c> is taken too.</summary>
    /// <exception cref="ConfigurationException">A file cannot be read or is no declaration; a name comes twice.</exception>
    public static IReadOnlyList<ToolDefinition> Load(string path)
    {
        string[] files = Directory.Exists(path) ? Directory.GetFiles(path, "*.json") : [path];
        Array.Sort(files, StringComparer.Ordinal);
        List<ToolDefinition> tools = [.. files.SelectMany(LoadFile)];
        string? twice = tools.GroupBy(tool => tool.Name).FirstOrDefault(group => group.Count() > 1)?.Key;
        return twice is null ? tools : throw new ConfigurationException($"{path}: the tool '{twice}' is declared twice; give each its own name.");
    }

    private static List<ToolDefinition> LoadFile(string file)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(file));
            JsonElement root = document.RootElement;
            return root.ValueKind == JsonValueKind.Array
                ? [.. root.EnumerateArray().Select((tool, index) => Read(tool, $"{file}[{index}]"))]
                : [Read(root, file)];
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException or InvalidOperationException) // the last: a name that is no Unicode
        {
            throw new ConfigurationException($"{file}: {e.Message} Expected a tool: an object with name, description and parameters (a JSON schema).", e);
        }
    }

    private static ToolDefinition Read(JsonElement tool, string path)
    {
        try
        {
            if (tool.ValueKind == JsonValueKind.Object && tool.TryGetProperty("function", out _))
            {
                return ToolDefinition.Parse(tool, path);
            }

            string? unknown = tool.ValueKind != JsonValueKind.Object ? null
                : tool.EnumerateObject().Select(member => member.Name).FirstOrDefault(name => !s_keys.Contains(name));
            if (unknown is not null)
            {
                throw new FormatException($"{path}: a tool has no key '{unknown}'; allowed are {string.Join(", ", s_keys)}.");
            }

            using JsonDocument wrapped = JsonDocument.Parse($$"""{"function": {{tool.GetRawText()}}}""");
            return ToolDefinition.Parse(wrapped.RootElement, path);
        }
        catch (FormatException e)
        {
            throw new ConfigurationException(e.Message, e);
        }
    }
}
