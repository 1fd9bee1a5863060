namespace Gemma4Edge.Model.Text;

/// <summary>Receives an answer while it is generated.</summary>
public interface IAnswerSink
{
    /// <summary>More of the answer's text; never empty, never half a character.</summary>
    void OnText(string delta);

    /// <summary>More of the thought; never empty, never half a character.</summary>
    void OnThought(string delta);

    /// <summary>A complete tool call.</summary>
    void OnToolCall(ToolCall toolCall);

    /// <summary>A tool call that could not be read, as it was generated.</summary>
    void OnMalformedToolCall(string raw);
}
