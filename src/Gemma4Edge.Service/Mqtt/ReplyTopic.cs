using System.Text;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Which topics a sender may have its reply on. Without this rule anybody who may prompt could make the node publish anywhere.</summary>
internal sealed class ReplyTopic(NodeTopics topics, IReadOnlyList<string> prefixes)
{
    private const int MaxBytes = 1024;

    /// <summary>Brokers have limits of their own (Mosquitto 200) and end the connection of whoever exceeds them.</summary>
    private const int MaxLevels = 64;

    /// <summary>Why a reply may not go to <paramref name="topic"/>; null = it may.</summary>
    public string? Refusal(string topic) =>
        Fault(topic) is { } fault ? fault
        : topic == topics.Response || prefixes.Any(prefix => topic.Length > prefix.Length && topic.StartsWith(prefix, StringComparison.Ordinal)) ? null
        : $"is not under {string.Join(" or ", prefixes)} and not {topics.Response}";

    /// <summary>What makes a text unfit as a topic to publish on; null = nothing. A broker ends the connection of whoever tries such a one.</summary>
    public static string? Fault(string topic)
    {
        if (topic.Length == 0 || Encoding.UTF8.GetByteCount(topic) > MaxBytes)
        {
            return $"has not 1 to {MaxBytes} bytes";
        }

        if (topic.AsSpan().Count('/') >= MaxLevels)
        {
            return $"has more than {MaxLevels} levels";
        }

        foreach (Rune rune in topic.EnumerateRunes())
        {
            if (rune.Value is '+' or '#')
            {
                return "holds a wildcard";
            }

            bool isNoncharacter = rune.Value is >= 0xFDD0 and <= 0xFDEF || (rune.Value & 0xFFFE) == 0xFFFE;
            if (Rune.IsControl(rune) || isNoncharacter || rune == Rune.ReplacementChar)
            {
                return "holds a character that no topic may hold";
            }
        }

        return null;
    }
}
