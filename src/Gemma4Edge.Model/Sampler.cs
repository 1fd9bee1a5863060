using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;

namespace Gemma4Edge.Model;

/// <summary>Chooses the next token from logits. Holds the scratch of one vocabulary and the state of one random sequence.</summary>
/// <remarks>Allocates at construction only. Not thread-safe. The same seed, options and logits give the same tokens on every CPU.</remarks>
public sealed class Sampler
{
    /// <summary>Above this the sorted insertion of <see cref="Largest"/> costs more than sorting everything once.</summary>
    private const int MostInserted = 1024;

    private readonly int[] _ids;
    private readonly float[] _weights;
    private SamplingOptions _options = SamplingOptions.Greedy;
    private ulong _state;

    /// <summary>Makes a sampler for logits of <paramref name="vocabSize"/> entries, greedy until <see cref="Reset"/>.</summary>
    public Sampler(int vocabSize)
    {
        _ids = new int[vocabSize];
        _weights = new float[vocabSize];
    }

    /// <summary>What <see cref="Next"/> has to be given: a shortlist where only a few of its tokens can be chosen, else every logit.</summary>
    public LogitRows Wants => _options.Temperature == 0 || _options.TopK is > 0 and <= TwoStageHead.Shortlist / 4 ? LogitRows.Shortlist : LogitRows.Last;

    /// <summary>Starts a new sequence of draws.</summary>
    /// <exception cref="ArgumentException">An option is outside its range.</exception>
    public void Reset(SamplingOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        _options = options;
        _state = options.Seed ?? (ulong)Random.Shared.NextInt64();
    }

    /// <summary>The next token id: the largest logit at temperature 0, else one draw from softmax(logits / temperature) over what top-k, top-p and min-p leave.</summary>
    /// <param name="logits">(VocabSize), after the softcap; −∞ = a token that cannot be chosen.</param>
    /// <exception cref="InvalidDataException">A logit is not a number: the weights or a kernel are broken.</exception>
    public int Next(ReadOnlySpan<float> logits)
    {
        int best = TensorPrimitives.IndexOfMax(logits); // the index of a NaN, if there is one
        if (float.IsNaN(logits[best]))
        {
            ThrowNotANumber(best);
        }

        if (_options.Temperature == 0 || _options.TopK == 1)
        {
            return best;
        }

        int count = Largest(logits);
        Span<int> ids = _ids.AsSpan(0, count);
        Span<float> weights = _weights.AsSpan(0, count);
        float largest = weights[0];
        float sum = 0;
        for (int i = 0; i < count; i++)
        {
            weights[i] = MathF.Exp((weights[i] - largest) / _options.Temperature);
            sum += weights[i];
        }

        // sorted by falling weight, so what is kept is a prefix; the likeliest is always kept
        float kept = 0;
        int keep = 0;
        while (keep < count && (keep == 0 || (kept < _options.TopP * sum && weights[keep] >= _options.MinP)))
        {
            kept += weights[keep++];
        }

        float draw = NextUniform() * kept;
        for (int i = 0; i < keep - 1; i++)
        {
            draw -= weights[i];
            if (draw < 0)
            {
                return ids[i];
            }
        }

        return ids[keep - 1];
    }

    /// <summary>Fills the scratch with the top-k (or all) logits, falling.</summary>
    private int Largest(ReadOnlySpan<float> logits)
    {
        int k = _options.TopK;
        if (k is 0 or > MostInserted || k >= logits.Length)
        {
            for (int id = 0; id < logits.Length; id++)
            {
                _ids[id] = id;
                _weights[id] = -logits[id]; // Sort is rising
            }

            _weights.AsSpan(0, logits.Length).Sort(_ids.AsSpan(0, logits.Length));
            TensorPrimitives.Negate(_weights.AsSpan(0, logits.Length), _weights.AsSpan(0, logits.Length));
            return k == 0 ? logits.Length : Math.Min(k, logits.Length);
        }

        int count = 0;
        for (int id = 0; id < logits.Length; id++)
        {
            float logit = logits[id];
            if (count == k && logit <= _weights[k - 1])
            {
                continue; // nearly every id of a large vocabulary ends here
            }

            int place = count < k ? count++ : k - 1;
            for (; place > 0 && _weights[place - 1] < logit; place--)
            {
                _weights[place] = _weights[place - 1];
                _ids[place] = _ids[place - 1];
            }

            _weights[place] = logit;
            _ids[place] = id;
        }

        return count;
    }

    /// <summary>Uniform in [0, 1) with 24 bits, by SplitMix64 (Steele, Lea, Flood 2014).</summary>
    private float NextUniform()
    {
        _state += 0x9E3779B97F4A7C15;
        ulong z = _state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        z ^= z >> 31;
        return (z >> 40) * (1f / (1 << 24));
    }

    [DoesNotReturn]
    private static void ThrowNotANumber(int id) =>
        throw new InvalidDataException($"Logit {id} is not a number: the model's weights are damaged, or a kernel is wrong on this CPU (try another one with --kernel scalar).");
}
