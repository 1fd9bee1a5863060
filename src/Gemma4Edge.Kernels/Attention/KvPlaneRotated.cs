using System.Runtime.InteropServices;

namespace Gemma4Edge.Kernels;

/// <summary>Keys or values as codes of rotated head vectors: y = H·(σ ⊙ x) over the whole head.</summary>
/// <remarks>
/// The rotation spreads the few large coordinates of a head over all of them, so that one scale serves the whole vector. It is
/// orthogonal, so ⟨Ry, Rx⟩ = ⟨y, x⟩: scores are computed on rotated queries, and a weighted sum of values is rotated back once.
/// Codes of a head are contiguous; scales stand in an array of their own. The scales are halves.
/// </remarks>
internal abstract class KvPlaneRotated : KvPlane
{
    private readonly int _codeBytes;
    private readonly int _scaleCount;
    private readonly float[] _rotated;
    private byte[] _codes = [];
    private Half[] _scales = [];

    /// <param name="format">The implementation's format.</param>
    /// <param name="shape">What a row holds.</param>
    /// <param name="capacity">Rows in the ring.</param>
    /// <param name="codeBytes">Bytes of codes per head vector.</param>
    /// <param name="scaleCount">Scales per head vector.</param>
    private protected KvPlaneRotated(KvFormat format, KvPlaneShape shape, int capacity, int codeBytes, int scaleCount)
        : base(format, shape, capacity)
    {
        _codeBytes = codeBytes;
        _scaleCount = scaleCount;
        _rotated = new float[shape.RowLength];
        Rotation = new HadamardRotation(shape.HeadDim, shape.HeadDim, shape.SignSeed);
        Resize(capacity);
    }

    /// <inheritdoc/>
    internal sealed override HadamardRotation Rotation { get; }

    /// <inheritdoc/>
    internal sealed override void Read(int position, int head, int newest, Span<float> destination)
    {
        int vector = VectorOf(position, head);
        Decode(CodesOf(vector), ScalesOf(vector), destination);
    }

    /// <inheritdoc/>
    public sealed override void CopyOut(int position, Span<byte> row)
    {
        CodesOfRow(position).CopyTo(row);
        ScalesOfRow(position).CopyTo(row[^ScalesOfRow(position).Length..]);
    }

    /// <inheritdoc/>
    public sealed override void CopyIn(int position, ReadOnlySpan<byte> row)
    {
        row[..CodesOfRow(position).Length].CopyTo(CodesOfRow(position));
        row[^ScalesOfRow(position).Length..].CopyTo(ScalesOfRow(position));
    }

    /// <summary>Codes and scales of one head vector.</summary>
    /// <param name="y">(HeadDim), rotated.</param>
    /// <param name="codes">Overwritten.</param>
    /// <param name="scales">Overwritten.</param>
    private protected abstract void Encode(ReadOnlySpan<float> y, Span<byte> codes, Span<Half> scales);

    /// <summary>The vector that codes and scales stand for.</summary>
    private protected abstract void Decode(ReadOnlySpan<byte> codes, ReadOnlySpan<Half> scales, Span<float> y);

    private protected sealed override void Resize(int capacity)
    {
        Array.Resize(ref _codes, checked(capacity * Shape.Heads * _codeBytes));
        Array.Resize(ref _scales, checked(capacity * Shape.Heads * _scaleCount));
    }

    private protected sealed override void Store(int position, ReadOnlySpan<float> row)
    {
        row.CopyTo(_rotated);
        Rotation.Apply(_rotated);
        for (int head = 0; head < Shape.Heads; head++)
        {
            int vector = VectorOf(position, head);
            Encode(_rotated.AsSpan(head * Shape.HeadDim, Shape.HeadDim), CodesOf(vector), ScalesOf(vector));
        }
    }

    private Span<byte> CodesOfRow(int position) => _codes.AsSpan(VectorOf(position, 0) * _codeBytes, Shape.Heads * _codeBytes);

    private Span<byte> ScalesOfRow(int position) => MemoryMarshal.AsBytes(_scales.AsSpan(VectorOf(position, 0) * _scaleCount, Shape.Heads * _scaleCount));

    private Span<byte> CodesOf(int vector) => _codes.AsSpan(vector * _codeBytes, _codeBytes);

    private Span<Half> ScalesOf(int vector) => _scales.AsSpan(vector * _scaleCount, _scaleCount);
}
