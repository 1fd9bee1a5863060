using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Service.Tools;

/// <summary>The check that a call of the service's tools must pass before it acts, for those who only show calls. Immutable.</summary>
internal sealed class CallCheck
{
    private readonly Dictionary<string, ToolSchema?> _schemas = new(StringComparer.Ordinal);

    /// <param name="tools">What was declared to the model.</param>
    /// <param name="tell">Hears which tools' calls cannot be checked, and why: a sentence each.</param>
    public CallCheck(IReadOnlyList<ToolDefinition> tools, Action<string> tell)
    {
        foreach (ToolDefinition tool in tools)
        {
            try
            {
                _schemas[tool.Name] = ToolSchema.ReadArguments(tool.Parameters, "parameters");
            }
            catch (FormatException e)
            {
                _schemas[tool.Name] = null;
                tell($"Calls of the tool '{tool.Name}' are not checked: {e.Message}");
            }
        }
    }

    /// <summary>Why the service would not act on a call, a sentence; null = it would, or the tool's calls cannot be checked.</summary>
    public string? Problem(ToolCall call) =>
        _schemas.TryGetValue(call.Name, out ToolSchema? schema) ? schema?.Problem(call.Arguments, "arguments") : "no such tool is declared.";
}
