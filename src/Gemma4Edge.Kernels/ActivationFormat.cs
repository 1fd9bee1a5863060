namespace Gemma4Edge.Kernels;

/// <summary>How activations enter a product with a weight matrix.</summary>
#pragma warning disable CA1720 // The members are the words of the option.
public enum ActivationFormat
{
    /// <summary>As 8-bit integers where the weights' format has kernels for them (TurboQuant, Q4_0, Q8_0), as floats elsewhere.</summary>
    Auto,

    /// <summary>As they are, with every format: the readable reference, slow with TurboQuant's.</summary>
    Float,

    /// <summary>As <see cref="Auto"/>, for who wants to be told if nothing is gained: a model without any matrix of such a format is refused.</summary>
    Int8,
}
#pragma warning restore CA1720
