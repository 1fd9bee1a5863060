using System.CommandLine;
using System.Globalization;
using System.Numerics;

namespace Gemma4Edge.Cli;

/// <summary>An option that takes a number and has no default of its own.</summary>
internal sealed class NumberOption<T> : Option<T?>
    where T : struct, INumber<T>
{
    /// <param name="name">Its name, with dashes.</param>
    /// <param name="symbol">What the help calls the number.</param>
    /// <param name="kind">What is expected: <c>a number</c>, <c>a whole number</c>.</param>
    /// <param name="description">For the help.</param>
    public NumberOption(string name, string symbol, string kind, string description)
        : base(name)
    {
        Description = description;
        HelpName = symbol;
        CustomParser = result =>
        {
            string word = result.Tokens[0].Value;
            if (!T.TryParse(word, CultureInfo.InvariantCulture, out T number))
            {
                result.AddError($"{name}: expected {kind}, found '{word}'.");
            }

            return number;
        };
    }
}
