namespace Gemma4Edge.Runtime;

/// <summary>What came of a tool call. Immutable.</summary>
/// <param name="Text">What the model is told: the tool's answer, or what went wrong.</param>
/// <param name="Ok">Whether it did what was asked.</param>
public sealed record ToolResult(string Text, bool Ok)
{
    /// <summary>Nothing was done: the tools only pretend.</summary>
    public bool DryRun { get; init; }

    /// <summary>The call failed, or was never run.</summary>
    public static ToolResult Failed(string problem) => new(problem, Ok: false);
}
