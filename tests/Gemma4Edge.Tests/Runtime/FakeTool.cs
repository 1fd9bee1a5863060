using System.Text.Json;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Tests.Runtime;

/// <summary>A tool that does what the test says.</summary>
internal sealed class FakeTool(ToolDefinition definition) : ITool
{
    public FakeTool(string name)
        : this(DemoTools.All.Single(tool => tool.Name == name))
    {
    }

    public List<ToolCall> Ran { get; } = [];

    public Func<ToolCall, string?> Refuse { get; init; } = _ => null;

    public Func<ToolCall, CancellationToken, Task<ToolResult>> Act { get; init; } = (_, _) => Task.FromResult(new ToolResult("ok", Ok: true));

    public ToolDefinition Definition { get; } = definition;

    public string? Refusal(ToolCall toolCall, string requestId) => Refuse(toolCall);

    public Task<ToolResult> RunAsync(ToolCall toolCall, string requestId, CancellationToken cancellation)
    {
        Ran.Add(toolCall);
        return Act(toolCall, cancellation);
    }
}
