using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Service.Tools;

/// <summary>A tool as its file declares it, checked. Immutable.</summary>
/// <param name="Definition">What the model sees.</param>
/// <param name="Schema">What its calls are checked against; null = it has no action.</param>
/// <param name="Action">What its calls do; null = they are for whoever sent the request.</param>
internal sealed record DeclaredTool(ToolDefinition Definition, ToolSchema? Schema, IToolAction? Action);
