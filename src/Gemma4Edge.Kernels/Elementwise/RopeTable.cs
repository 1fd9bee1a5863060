using System.Diagnostics.CodeAnalysis;
using System.Numerics;

namespace Gemma4Edge.Kernels;

/// <summary>Rotary position embedding in the half-split form, with the cosines and sines of one run of positions.</summary>
/// <remarks>
/// With half = headDim / 2 and a[j] = position · theta^(−2j / headDim) / factor[j] for j in [0, half):
/// <code>
/// y[j]        = x[j] · cos a[j] − x[j + half] · sin a[j]
/// y[j + half] = x[j + half] · cos a[j] + x[j] · sin a[j]
/// </code>
/// Angles are computed in double precision, so far positions lose nothing. <see cref="Prepare"/> from one thread; then
/// <see cref="Apply"/> from any number of threads.
/// </remarks>
public sealed class RopeTable
{
    private readonly double[] _frequencies;
    private float[] _cos = [];
    private float[] _sin = [];
    private int _firstPosition;
    private int _count;

    /// <summary>Lays down the frequencies of one kind of layer.</summary>
    /// <param name="headDim">Even.</param>
    /// <param name="theta">Base of the frequencies.</param>
    /// <param name="factors">Divides the angle of pair j, (headDim / 2); empty = all 1. A huge factor (≥ 1e30) leaves its pair unrotated.</param>
    /// <exception cref="ArgumentException">headDim is odd, or the factors are not headDim / 2.</exception>
    public RopeTable(int headDim, float theta, ReadOnlySpan<float> factors)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headDim);
        if (headDim % 2 != 0 || (!factors.IsEmpty && factors.Length != headDim / 2))
        {
            throw new ArgumentException($"A head of {headDim} with {factors.Length} factors: the head must be even and the factors half of it, or none.", nameof(factors));
        }

        HeadDim = headDim;
        _frequencies = new double[headDim / 2];
        for (int j = 0; j < _frequencies.Length; j++)
        {
            _frequencies[j] = Math.Pow(theta, -2.0 * j / headDim) / (factors.IsEmpty ? 1 : factors[j]);
        }
    }

    /// <summary>Floats per head.</summary>
    public int HeadDim { get; }

    /// <summary>Computes cosines and sines for the positions [<paramref name="firstPosition"/>, firstPosition + <paramref name="count"/>), once per chunk for all layers and heads.</summary>
    /// <remarks>Allocates only when <paramref name="count"/> exceeds every earlier one; does nothing when the positions are prepared already.</remarks>
    public void Prepare(int firstPosition, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstPosition);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (firstPosition >= _firstPosition && firstPosition + count <= _firstPosition + _count)
        {
            return;
        }

        int half = _frequencies.Length;
        if (_cos.Length < count * half)
        {
            _cos = new float[count * half];
            _sin = new float[count * half];
        }

        for (int i = 0; i < count; i++)
        {
            for (int j = 0; j < half; j++)
            {
                (double sin, double cos) = Math.SinCos((firstPosition + i) * _frequencies[j]);
                _cos[(i * half) + j] = (float)cos;
                _sin[(i * half) + j] = (float)sin;
            }
        }

        _firstPosition = firstPosition;
        _count = count;
    }

    /// <summary>Rotates the heads of one token, in place.</summary>
    /// <param name="heads">(heads, headDim), contiguous.</param>
    /// <param name="position">Prepared by <see cref="Prepare"/>.</param>
    /// <exception cref="ArgumentException">The length is not a whole number of heads, or the position is not prepared.</exception>
    public void Apply(Span<float> heads, int position)
    {
        int index = position - _firstPosition;
        if ((uint)index >= (uint)_count)
        {
            ThrowNotPrepared(position);
        }

        if (heads.Length % HeadDim != 0)
        {
            ThrowNotWholeHeads(heads.Length);
        }

        int half = _frequencies.Length;
        ReadOnlySpan<float> cos = _cos.AsSpan(index * half, half);
        ReadOnlySpan<float> sin = _sin.AsSpan(index * half, half);
        for (int start = 0; start < heads.Length; start += HeadDim)
        {
            Rotate(heads.Slice(start, half), heads.Slice(start + half, half), cos, sin);
        }
    }

    private static void Rotate(Span<float> low, Span<float> high, ReadOnlySpan<float> cos, ReadOnlySpan<float> sin)
    {
        int j = 0;
        for (; j <= low.Length - Vector<float>.Count; j += Vector<float>.Count)
        {
            Vector<float> c = new(cos[j..]), s = new(sin[j..]), a = new(low[j..]), b = new(high[j..]);
            ((a * c) - (b * s)).CopyTo(low[j..]);
            ((b * c) + (a * s)).CopyTo(high[j..]);
        }

        for (; j < low.Length; j++)
        {
            (float a, float b) = (low[j], high[j]);
            low[j] = (a * cos[j]) - (b * sin[j]);
            high[j] = (b * cos[j]) + (a * sin[j]);
        }
    }

    [DoesNotReturn]
    private void ThrowNotPrepared(int position) =>
        throw new ArgumentException($"Position {position} is not among the prepared ones, [{_firstPosition}, {_firstPosition + _count}).", nameof(position));

    [DoesNotReturn]
    private void ThrowNotWholeHeads(int length) =>
        throw new ArgumentException($"{length} floats are not a whole number of heads of {HeadDim}.");
}
