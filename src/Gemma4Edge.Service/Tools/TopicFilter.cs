namespace Gemma4Edge.Service.Tools;

/// <summary>A topic filter, as in a subscription: <c>+</c> stands for one level, <c>#</c> for all further ones; neither for a first level that begins with <c>$</c>.</summary>
internal sealed class TopicFilter(string filter)
{
    private readonly string[] _levels = filter.Split('/');

    /// <summary>Whether a text is a filter.</summary>
    public static bool IsFilter(string text)
    {
        string[] levels = text.Split('/');
        return text.Length > 0 && !text.Contains('\0', StringComparison.Ordinal)
            && levels.Index().All(level => level.Item is "+" || (level.Item is "#" && level.Index == levels.Length - 1) || level.Item.IndexOfAny(['+', '#']) < 0);
    }

    /// <summary>Whether a topic of these levels fits; a level that is null is not known yet and fits wherever some text would.</summary>
    public bool Fits(string?[] topic)
    {
        for (int i = 0; i < _levels.Length; i++)
        {
            bool isWildcard = _levels[i] is "+" or "#" && !(i == 0 && topic[0]?.StartsWith('$') == true);
            if (_levels[i] == "#" && isWildcard)
            {
                return true; // its own level may be missing: a/# fits a
            }

            if (i >= topic.Length || !(isWildcard || topic[i] is null || topic[i] == _levels[i]))
            {
                return false;
            }
        }

        return topic.Length == _levels.Length;
    }

    /// <inheritdoc/>
    public override string ToString() => filter;
}
