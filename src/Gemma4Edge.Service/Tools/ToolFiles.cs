using System.Text;
using System.Text.Json;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Service.Tools;

/// <summary>Reads the declarations of tools.</summary>
public static class ToolFiles
{
    private const int MaxDepth = 32;
    private static readonly string[] s_keys = ["name", "description", "parameters", "response", "action"];

    /// <summary>The tools of a file, or of all *.json files of a folder in order of name. A file holds one tool
    /// <c>{"name", "description", "parameters": JSON schema, "response", "action"}</c> or a list of them; OpenAI's form <c>{"type": "function", "function": {…}}</c> is taken too.</summary>
    /// <exception cref="ConfigurationException">A file cannot be read or is no declaration; a name comes twice.</exception>
    public static IReadOnlyList<ToolDefinition> Load(string path) => Load(path, (json, definition) => definition, definition => definition.Name);

    /// <summary>The same with what their calls do.</summary>
    /// <exception cref="ConfigurationException">As <see cref="Load(string)"/>; a schema or an action is wrong, or an action leads to where nothing may be done.</exception>
    internal static IReadOnlyList<DeclaredTool> Load(ToolsOptions options) =>
        options.Path is { } path ? Load(path, (json, definition) => ReadAction(json, definition, options), tool => tool.Definition.Name) : [];

    /// <summary>Those of the tools that act: none where no topic is allowed to any.</summary>
    internal static IReadOnlyList<DeclaredTool> Acting(IReadOnlyList<DeclaredTool> tools, ToolsOptions options) =>
        options.AllowTopics.Count > 0 ? [.. tools.Where(tool => tool.Action is not null)] : [];

    private static List<T> Load<T>(string path, Func<JsonAt, ToolDefinition, T> read, Func<T, string> nameOf)
    {
        string[] files = Directory.Exists(path) ? Directory.GetFiles(path, "*.json") : [path];
        Array.Sort(files, StringComparer.Ordinal);
        List<T> tools = [.. files.SelectMany(file => LoadFile(file, read))];
        string? twice = tools.GroupBy(nameOf).FirstOrDefault(group => group.Count() > 1)?.Key;
        return twice is null ? tools : throw new ConfigurationException($"{path}: the tool '{twice}' is declared twice; give each its own name.");
    }

    private static List<T> LoadFile<T>(string file, Func<JsonAt, ToolDefinition, T> read)
    {
        try
        {
            JsonElement root = StrictJson.Parse(Encoding.UTF8.GetBytes(File.ReadAllText(file)), MaxDepth); // with or without a byte order mark
            return root.ValueKind == JsonValueKind.Array
                ? [.. root.EnumerateArray().Select((tool, index) => JsonAt.Parse(tool, $"{file}[{index}]", json => read(json, ReadDefinition(json))))]
                : [JsonAt.Parse(root, file, json => read(json, ReadDefinition(json)))];
        }
        catch (FormatException e)
        {
            throw new ConfigurationException(e.Message, e);
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException or InvalidOperationException) // the last: a name that is no Unicode
        {
            throw new ConfigurationException($"{file}: {JsonFault.Of(e)} Expected a tool: an object with name, description and parameters (a JSON schema).", e);
        }
    }

    private static ToolDefinition ReadDefinition(JsonAt json)
    {
        if (json.Find("function") is not null)
        {
            return ToolDefinition.Parse(json);
        }

        string? unknown = json.Value.EnumerateObject().Select(member => member.Name).FirstOrDefault(name => !s_keys.Contains(name));
        if (unknown is not null)
        {
            throw new FormatException($"{json.Path}: a tool has no key '{unknown}'; allowed are {string.Join(", ", s_keys)}.");
        }

        using JsonDocument wrapped = JsonDocument.Parse($$"""{"function": {{json.Value.GetRawText()}}}""");
        return ToolDefinition.Parse(wrapped.RootElement, json.Path);
    }

    private static DeclaredTool ReadAction(JsonAt json, ToolDefinition definition, ToolsOptions options)
    {
        if (json.Find("action") is not { } action)
        {
            DeclaredSchema.Check(definition.Parameters, json.Find("function") is { } function ? $"{function.Path}.parameters" : $"{json.Path}.parameters");
            return new DeclaredTool(definition, null, null);
        }

        ToolSchema schema = ToolSchema.ReadArguments(definition.Parameters, $"{json.Path}.parameters");
        return new DeclaredTool(definition, schema, ActionKinds.Read(action, schema, options));
    }
}
