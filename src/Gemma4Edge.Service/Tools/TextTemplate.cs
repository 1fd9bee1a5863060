using System.Text;
using System.Text.Json;

namespace Gemma4Edge.Service.Tools;

/// <summary>A text with arguments in it: <c>home/{area}/light</c>. A brace of its own is written twice. Immutable.</summary>
internal sealed class TextTemplate
{
    private readonly List<(string Text, bool IsArgument)> _parts = [];

    /// <summary>Reads a template.</summary>
    /// <exception cref="FormatException">A brace has no partner, or an argument no name.</exception>
    public TextTemplate(string template, string path)
    {
        var text = new StringBuilder();
        for (int i = 0; i < template.Length; i++)
        {
            char c = template[i];
            if (c is '{' or '}' && i + 1 < template.Length && template[i + 1] == c)
            {
                text.Append(c);
                i++;
            }
            else if (c is '{')
            {
                int end = template.IndexOf('}', i);
                _parts.Add((text.ToString(), false));
                _parts.Add((end > i + 1 ? template[(i + 1)..end] : throw Brace(path, template), true));
                text.Clear();
                i = end;
            }
            else
            {
                text.Append(c is not '}' ? c : throw Brace(path, template));
            }
        }

        _parts.Add((text.ToString(), false));
        _parts.RemoveAll(part => part.Text.Length == 0);
    }

    /// <summary>The names of the arguments.</summary>
    public IEnumerable<string> Arguments => _parts.Where(part => part.IsArgument).Select(part => part.Text);

    /// <summary>The argument that is the whole text; null = there is more, or none.</summary>
    public string? OnlyArgument => _parts is [(var name, true)] ? name : null;

    /// <summary>The text with the arguments in it; null = one of them is absent.</summary>
    public string? Fill(ArgumentValues values)
    {
        var filled = new StringBuilder();
        foreach ((string text, bool isArgument) in _parts)
        {
            if (!isArgument)
            {
                filled.Append(text);
            }
            else if (values.Find(text) is { } value)
            {
                filled.Append(value.ValueKind == JsonValueKind.String ? value.GetString() : value.GetRawText());
            }
            else
            {
                return null;
            }
        }

        return filled.ToString();
    }

    private static FormatException Brace(string path, string template) =>
        new($"{path}: '{template}' has a brace without a partner or a name; expected {{argument}}, and {{{{ or }}}} for a brace itself.");
}
