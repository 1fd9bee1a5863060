namespace Gemma4Edge.Kernels;

/// <summary>Looks at the activations x, (tokens, w.Columns), that are about to be multiplied with <paramref name="w"/>. Called on the thread that multiplies.</summary>
public delegate void ActivationObserver(WeightMatrix w, ReadOnlySpan<float> x, int tokens);
