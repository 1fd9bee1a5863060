using System.CommandLine;
using Gemma4Edge.Model;

namespace Gemma4Edge.Cli;

/// <summary>The options that choose tokens, for <c>run</c> and <c>chat</c>. What is not given comes from the model.</summary>
internal sealed class SamplingFlags
{
    private readonly CountOption _maxTokens = new("--max-tokens", 256, 1, "Most tokens of an answer");
    private readonly NumberOption<float> _temperature = new("--temperature", "T", "a number", "0 = always the likeliest token; default the model's");
    private readonly NumberOption<int> _topK = new("--top-k", "K", "a whole number", "Choose among the K likeliest; 0 = all");
    private readonly NumberOption<float> _topP = new("--top-p", "P", "a number", "Choose among the likeliest that make up this probability");
    private readonly NumberOption<float> _minP = new("--min-p", "P", "a number", "Leave out tokens less likely than this share of the likeliest");
    private readonly NumberOption<ulong> _seed = new("--seed", "N", "a whole number from 0", "The same seed gives the same answer");
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
