using System.CommandLine;

namespace Gemma4Edge.Cli;

/// <summary>An option that takes a whole number, not below <c>minimum</c>.</summary>
internal sealed class CountOption : Option<int>
{
    public CountOption(string name, int byDefault, int minimum, string description)
        : base(name)
    {
        Description = description;
        HelpName = "N";
        DefaultValueFactory = _ => byDefault;
        Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is int count && count < minimum)
            {
                result.AddError($"{name}: {count} is too small; expected {minimum} or more.");
            }
        });
    }
}
