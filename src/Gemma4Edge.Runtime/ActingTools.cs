namespace Gemma4Edge.Runtime;

/// <summary>The tools that are run here, and how far that goes. Immutable.</summary>
/// <param name="Tools">Their names are distinct. Any other tool's call is for whoever sent the request.</param>
public sealed record ActingTools(IReadOnlyList<ITool> Tools)
{
    /// <summary>How often in a row the model may call tools before it must answer.</summary>
    public int MaxRounds { get; init; } = 4;

    /// <summary>Longest time that one call may take.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>The tool of that name; null = it is not run here.</summary>
    public ITool? Find(string name) => Tools.FirstOrDefault(tool => tool.Definition.Name == name);
}
