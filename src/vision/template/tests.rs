use super::*;

fn ramp() -> Vec<f32> {
    (0..TEMPLATE_LEN).map(|i| i as f32 - 40.0).collect()
}

#[test]
fn a_template_survives_its_bytes() {
    let template = Template::normalised(&ramp()).unwrap();
    let bytes = template.to_bytes();
    assert_eq!(bytes.len(), 512);
    assert_eq!(bytes[..4], template.as_slice()[0].to_le_bytes());
    assert_eq!(Template::from_bytes(&*bytes).unwrap(), template);
    assert!((template.cosine(&template) - 1.0).abs() < 1e-6);
    let opposite: Vec<f32> = template.as_slice().iter().map(|v| -v).collect();
    let opposite = Template::from_slice(&opposite).unwrap();
    assert!((template.cosine(&opposite) + 1.0).abs() < 1e-6);
}

#[test]
fn other_numbers_are_refused() {
    let unit = Template::normalised(&ramp()).unwrap();
    let mut nan = unit.as_slice().to_vec();
    nan[7] = f32::NAN;
    assert_eq!(Template::from_slice(&nan), Err(TemplateError::NotFinite));
    let short = &unit.as_slice()[1..];
    assert_eq!(Template::from_slice(short), Err(TemplateError::Length { found: 127 }));
    assert!(matches!(Template::from_slice(&ramp()), Err(TemplateError::NotUnit { .. })));
    for bad in [[0.0; TEMPLATE_LEN], [f32::MAX; TEMPLATE_LEN]] {
        assert!(matches!(Template::normalised(&bad), Err(TemplateError::NotUnit { .. })));
    }
    assert!(Template::from_bytes(&unit.to_bytes()[1..]).is_err());
    assert!(Template::from_bytes(&[]).is_err());
}

#[test]
fn a_template_does_not_print_itself() {
    let shown = format!("{:?}", Template::normalised(&ramp()).unwrap());
    assert_eq!(shown, "Template(..)");
}
