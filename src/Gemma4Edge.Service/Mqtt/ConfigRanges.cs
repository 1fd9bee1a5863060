namespace Gemma4Edge.Service.Mqtt;

/// <summary>Numbers that <c>config/KEY/set</c> takes; discovery tells Home Assistant the same.</summary>
internal static class ConfigRanges
{
    /// <summary>Divides the logits; 0 = greedy.</summary>
    public static (double Min, double Max) Temperature => (0, 10);

    /// <summary>Most tokens of an answer.</summary>
    public static (double Min, double Max) MaxTokens(NodeInfo info) => (1, info.Context);
}
