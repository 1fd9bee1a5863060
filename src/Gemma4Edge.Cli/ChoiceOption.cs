using System.CommandLine;

namespace Gemma4Edge.Cli;

/// <summary>An option that takes one of a few words.</summary>
internal sealed class ChoiceOption : Option<string?>
{
    /// <param name="name">Its name, with dashes.</param>
    /// <param name="byDefault">What it is when it is not given; null = nothing.</param>
    /// <param name="description">For the help.</param>
    /// <param name="choices">What is allowed.</param>
    public ChoiceOption(string name, string? byDefault, string description, params IEnumerable<string> choices)
        : base(name)
    {
        string[] words = [.. choices];
        Description = description;
        HelpName = string.Join('|', words);
        CompletionSources.Add(words);
        if (byDefault is not null)
        {
            DefaultValueFactory = _ => byDefault;
        }

        Validators.Add(result =>
        {
            if (result.GetValueOrDefault<string?>() is { } word && !words.Contains(word))
            {
                result.AddError($"{name}: '{word}' is not known; expected {string.Join(" or ", words)}.");
            }
        });
    }
}
