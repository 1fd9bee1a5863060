using System.CommandLine;
using System.Globalization;

namespace Gemma4Edge.Cli;

/// <summary>An option that takes a whole number.</summary>
internal sealed class CountOption : Option<int>
{
    /// <param name="name">Its name, with dashes.</param>
    /// <param name="byDefault">What it is when it is not given.</param>
    /// <param name="minimum">The smallest number allowed.</param>
    /// <param name="description">For the help.</param>
    /// <param name="maximum">The largest number allowed.</param>
    public CountOption(string name, int byDefault, int minimum, string description, int maximum = int.MaxValue)
        : base(name)
    {
        Description = description;
        HelpName = "N";
        DefaultValueFactory = _ => byDefault;
        CustomParser = result =>
        {
            string word = result.Tokens[0].Value;
            if (!int.TryParse(word, CultureInfo.InvariantCulture, out int count) || count < minimum || count > maximum)
            {
                result.AddError($"{name}: expected a whole number from {minimum}{(maximum < int.MaxValue ? $" to {maximum}" : "")}, found '{word}'.");
            }

            return count;
        };
    }
}
