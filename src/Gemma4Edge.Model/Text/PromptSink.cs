using System.Text;

namespace Gemma4Edge.Model.Text;

/// <summary>Receives a prompt as markers (special tokens) and text. Text never becomes a marker, whatever it says.</summary>
internal abstract class PromptSink
{
    /// <summary>Adds a special token by its name.</summary>
    public abstract void Marker(string name);

    /// <summary>Adds text: the template's own words and those from outside alike.</summary>
    public abstract void Text(string text);
}

/// <summary>The prompt as one string.</summary>
internal sealed class TextPromptSink : PromptSink
{
    private readonly StringBuilder _prompt = new();

    public override void Marker(string name) => _prompt.Append(name);

    public override void Text(string text) => _prompt.Append(text);

    public override string ToString() => _prompt.ToString();
}

/// <summary>The prompt as token ids.</summary>
/// <remarks>All text between two markers is one fragment, because merges reach across the border of the template's words and the user's.</remarks>
internal sealed class TokenPromptSink(GemmaTokenizer tokenizer) : PromptSink
{
    private readonly StringBuilder _fragment = new();
    private readonly List<int> _ids = [];

    /// <exception cref="FormatException">The vocabulary has no such token, for example none for images.</exception>
    public override void Marker(string name)
    {
        int id = tokenizer.Special.IdOf(name);
        if (id < 0)
        {
            throw new FormatException($"This model has no token {name}: it cannot take such content.");
        }
        EndFragment();
        _ids.Add(id);
    }

    public override void Text(string text) => _fragment.Append(text);

    /// <summary>Ends the prompt and returns it.</summary>
    public List<int> Ids()
    {
        EndFragment();
        return _ids;
    }

    private void EndFragment()
    {
        tokenizer.Encode(_fragment.ToString(), specialTokens: false, _ids);
        _fragment.Clear();
    }
}
