using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Service.Tools;

/// <summary>Every kind of action a tool's file may name.</summary>
internal static class ActionKinds
{
    private static readonly Dictionary<string, Func<JsonAt, ToolSchema, ToolsOptions, IToolAction>> s_kinds = new()
    {
        [PublishAction.Kind] = PublishAction.Read,
    };

    /// <summary>Reads <c>{"KIND": {…}}</c>.</summary>
    /// <exception cref="FormatException">The message begins with the path of what is wrong.</exception>
    public static IToolAction Read(JsonAt json, ToolSchema schema, ToolsOptions options)
    {
        string[] given = [.. json.Object().EnumerateObject().Select(member => member.Name)];
        return given is [var kind] && s_kinds.TryGetValue(kind, out Func<JsonAt, ToolSchema, ToolsOptions, IToolAction>? read)
            ? read(json.Get(kind), schema, options)
            : throw new FormatException($"{json.Path}: expected exactly one of {string.Join(", ", s_kinds.Keys)}, found {(given.Length == 0 ? "nothing" : string.Join(", ", given))}.");
    }
}
