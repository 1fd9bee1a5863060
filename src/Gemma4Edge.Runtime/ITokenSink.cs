using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Runtime;

/// <summary>Takes what one request produces. After any number of the others comes exactly one of <see cref="OnDone"/> and <see cref="OnFailed"/>, as the last call.</summary>
/// <remarks>Called on the compute thread (a refusal or a cancellation while queued: on the caller's): only enqueue, never wait, but for <see cref="OnActing"/>.</remarks>
public interface ITokenSink
{
    /// <summary>The compute thread has taken the request and is about to look at it: if the process dies now, it may be why.</summary>
    void OnTaken()
    {
        // who keeps nothing has nothing to note
    }

    /// <summary>Work begins: <paramref name="cachedTokens"/> of <paramref name="promptTokens"/> need no prefill.</summary>
    void OnStart(double queueMs, int promptTokens, int cachedTokens);

    /// <summary><paramref name="done"/> of <paramref name="total"/> prompt tokens are in the cache.</summary>
    void OnPrefill(int done, int total);

    /// <summary>More text of the answer; whole characters.</summary>
    void OnText(string delta);

    /// <summary>More text of the thought before the answer.</summary>
    void OnThought(string delta);

    /// <summary>A complete tool call.</summary>
    void OnToolCall(ToolCall toolCall);

    /// <summary>A tool is about to act. It acts when this returns: whoever keeps a record waits here until the record is safe.</summary>
    /// <exception cref="RequestFailedException">The tool must not act; the request ends with that failure.</exception>
    void OnActing(ToolCall toolCall);

    /// <summary>What came of a call: an act, or the refusal of a wrong call (then <see cref="OnActing"/> was not called).</summary>
    void OnToolResult(ToolCall toolCall, ToolResult result);

    /// <summary>The answer is complete.</summary>
    void OnDone(GenerationResult result);

    /// <summary>There will be no answer.</summary>
    void OnFailed(GenerationFailure failure);
}
