using System.Numerics.Tensors;
using System.Text.Json;

namespace Gemma4Edge.Cli;

/// <summary>Collects how well a model predicts known tokens, and how far it is from a reference model.</summary>
internal sealed class QualityScore
{
    private readonly List<double> _divergences = [];
    private double _nllSum;
    private int _agreements;

    /// <summary>Tokens scored so far.</summary>
    public int Tokens { get; private set; }

    /// <summary>Mean of −ln p(token), in nats.</summary>
    public double MeanNll => _nllSum / Tokens;

    /// <summary>exp of <see cref="MeanNll"/>.</summary>
    public double Perplexity => Math.Exp(MeanNll);

    /// <summary>Mean of KL(reference ‖ model) per token, in nats.</summary>
    public double MeanDivergence => _divergences.Average();

    /// <summary>99 % of the tokens diverge no more than this.</summary>
    public double DivergenceP99 => _divergences.Order().ElementAt((int)Math.Ceiling(0.99 * _divergences.Count) - 1);

    /// <summary>How often both models like the same token best.</summary>
    public double AgreementPercent => 100.0 * _agreements / _divergences.Count;

    /// <summary>Whether a reference was given.</summary>
    public bool HasReference => _divergences.Count > 0;

    /// <summary>Scores one position.</summary>
    /// <param name="logits">The model's logits, (VocabSize).</param>
    /// <param name="reference">The reference model's logits there, (VocabSize), or empty.</param>
    /// <param name="target">The token that really follows.</param>
    public void Add(ReadOnlySpan<float> logits, ReadOnlySpan<float> reference, int target)
    {
        double logSum = LogSumExp(logits);
        _nllSum += logSum - logits[target];
        Tokens++;
        if (reference.IsEmpty)
        {
            return;
        }

        double referenceLogSum = LogSumExp(reference);
        double divergence = 0; // Σ p·(ln p − ln q)
        for (int id = 0; id < logits.Length; id++)
        {
            double logP = reference[id] - referenceLogSum;
            divergence += Math.Exp(logP) * (logP - (logits[id] - logSum));
        }

        _divergences.Add(divergence);
        if (TensorPrimitives.IndexOfMax(logits) == TensorPrimitives.IndexOfMax(reference))
        {
            _agreements++;
        }
    }

    /// <summary>Writes <c>kl_mean</c>, <c>kl_p99</c> and <c>top1_agreement_percent</c>, if there was a reference.</summary>
    public void WriteReferenceTo(Utf8JsonWriter json)
    {
        if (HasReference)
        {
            json.WriteNumber("kl_mean", MeanDivergence);
            json.WriteNumber("kl_p99", DivergenceP99);
            json.WriteNumber("top1_agreement_percent", AgreementPercent);
        }
    }

    /// <summary>The same for people.</summary>
    public void WriteReferenceTo(TextWriter output)
    {
        if (HasReference)
        {
            output.WriteLine($"KL to the reference {MeanDivergence:F5} nats per token (99 % below {DivergenceP99:F5}), same best token {AgreementPercent:F2} %");
        }
    }

    private static double LogSumExp(ReadOnlySpan<float> logits)
    {
        double max = TensorPrimitives.Max(logits);
        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp(logit - max);
        }

        return max + Math.Log(sum);
    }
}
