using System.CommandLine;
using Gemma4Edge.Model;

namespace Gemma4Edge.Cli;

/// <summary>The options that choose tokens, for <c>run</c> and <c>chat</c>. What is not given comes from the model.</summary>
internal sealed class SamplingFlags
{
    private readonly CountOption _maxTokens = new("--max-tokens", 256, 1, "Most tokens of an answer");
    private readonly Option<float?> _temperature = new("--temperature") { Description = "0 = always the likeliest token; default the model's", HelpName = "T" };
    private readonly Option<int?> _topK = new("--top-k") { Description = "Choose among the K likeliest; 0 = all", HelpName = "K" };
    private readonly Option<float?> _topP = new("--top-p") { Description = "Choose among the likeliest that make up this probability", HelpName = "P" };
    private readonly Option<float?> _minP = new("--min-p") { Description = "Leave out tokens less likely than this share of the likeliest", HelpName = "P" };
    private readonly Option<ulong?> _seed = new("--seed") { Description = "The same seed gives the same answer", HelpName = "N" };
    private readonly Option<bool> _think = new("--think") { Description = "Let the model think before it answers" };

    /// <summary>Adds the options to <paramref name="verb"/>.</summary>
    public SamplingFlags(Command verb)
    {
        foreach (Option option in (Option[])[_maxTokens, _temperature, _topK, _topP, _minP, _seed, _think])
        {
            verb.Options.Add(option);
        }
    }

    /// <summary>Most tokens of an answer.</summary>
    public int MaxTokens(ParseResult parsed) => parsed.GetValue(_maxTokens);

    /// <summary>Whether the model may think.</summary>
    public bool Think(ParseResult parsed) => parsed.GetValue(_think);

    /// <summary>How tokens are chosen: <paramref name="defaults"/> with what was given.</summary>
    /// <exception cref="CommandException">A value is out of range.</exception>
    public SamplingOptions Read(ParseResult parsed, SamplingOptions defaults)
    {
        SamplingOptions sampling = defaults with
        {
            Temperature = parsed.GetValue(_temperature) ?? defaults.Temperature,
            TopK = parsed.GetValue(_topK) ?? defaults.TopK,
            TopP = parsed.GetValue(_topP) ?? defaults.TopP,
            MinP = parsed.GetValue(_minP) ?? defaults.MinP,
            Seed = parsed.GetValue(_seed),
        };
        try
        {
            sampling.Check();
            return sampling;
        }
        catch (ArgumentException e)
        {
            throw CommandException.WrongUsage(e.Message);
        }
    }
}
