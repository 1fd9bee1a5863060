using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Tests.Runtime;

/// <summary>The tools that stand beside the demo model.</summary>
internal static class DemoTools
{
    public static IReadOnlyList<ToolDefinition> All { get; } =
    [
        .. Directory.EnumerateFiles(System.IO.Path.Combine(TestData.DemoModel, "tools"), "*.json").Order().Select(file =>
        {
            JsonElement tool = JsonDocument.Parse(File.ReadAllBytes(file)).RootElement;
            return new ToolDefinition(tool.GetProperty("name").GetString()!, tool.GetProperty("description").GetString()!, tool.GetProperty("parameters"));
        }),
    ];
}
